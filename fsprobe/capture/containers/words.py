"""The command lines of container starters: where the image stands, and where the recorder goes in.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.

Source: `apptainer exec --help` of 1.4, `singularity exec --help` of SingularityCE 4, `ch-run --help` of Charliecloud 0.31.
"""

import os
import re
import shlex

from fsprobe.capture.machine import host, starters
from fsprobe.errors import FsprobeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from fsprobe.capture.machine.starters import Found

RECORDER = "fsprobe-rec.pyz"
NEWEST_PYTHON = 16
_PYTHON = re.compile(r"python(3(\.\d+)?)?$")
_FIND_PYTHON = (
    'r=$1; shift; test -r "$r" || { echo "fsprobe: the container does not show $r (is `user bind control` off?)" >&2; exit 125; }; '
    "for p in python3 python %s /usr/local/bin/python3 /opt/conda/bin/python3; do "
    '"$p" -I -S -c \'import sys; sys.exit(sys.version_info < (3, 6))\' </dev/null >/dev/null 2>&1 && exec "$p" -I -S "$r" "$@"; done; '
    'echo "fsprobe: there is no Python 3.6 or later on PATH in the container, which the recorder needs" >&2; exit 125'
) % " ".join("python3.%d" % minor for minor in range(NEWEST_PYTHON, 5, -1))
"""For a command that is no Python itself: a shell of the container looks for one."""

# Options of `exec` and `run` that take a value.
_SHORT_WITH_VALUE = "BHSWo"
_LONG_WITH_VALUE = frozenset(
    "add-caps app apply-cgroups authfile bind blkio-weight blkio-weight-device cdi-dirs cpu-shares cpus cpuset-cpus cpuset-mems "
    "cwd data device dns docker-host docker-password docker-username drop-caps env env-file fusemount home hostname memory "
    "memory-reservation memory-swap mount netns-path network network-args no-mount overlay pem-path pids-limit proot pwd "
    "scratch security shm-size workdir".split()
)
_LONG_ALONE = frozenset(
    "allow-setuid cleanenv compat contain containall disable-cache docker-login fakeroot ipc keep-privs net no-compat no-eval "
    "no-home no-https no-init no-oci no-pid no-privs no-setgroups no-tmp-sandbox no-umask nohttps nv nvccli oci oom-kill-disable "
    "passphrase pid rocm sharens tmp-sandbox underlay unsquash userns uts vm writable writable-tmpfs".split()
)
_CHARLIE_WITH_VALUE = frozenset(
    "-b --bind -c --cd -g --gid -j --join-ct --join-pid --join-tag -m --mount -s --storage -u --uid --ch-ssh".split()
)
_RUNSCRIPT = "/.singularity.d/runscript"


class Entry:
    """A starter's command line, taken apart."""

    def __init__(self, head: "list[str]", image: "str", command: "list[str]") -> "None":
        self.head = head
        """The starter's words before the image."""
        self.image = image
        self.command = command
        """What runs in the container."""
        self.binds = True
        """Whether a directory has to be bound in by `-B`; else /tmp is in there anyway."""
        self.after_image = []  # type: list[str]
        """What stands between image and command."""

    def words(self, place: "str", inside: "list[str]") -> "list[str]":
        """The starter's command line with `inside` as what runs in the container, and the directory `place` in it."""
        bound = ["-B", "%s:%s" % (place, place)] if self.binds else []
        return self.head + bound + [self.image] + self.after_image + inside


def take_apart(found: "Found", environment: "Mapping[str, str]") -> "Entry":
    """Find image and command in a starter's words.

    Raises:
        FsprobeError: nobody can enter with it, or not in this way; its hint is the line to type.
    """
    if found.behind:
        shown = found.words if len(found.words) > 1 else [found.name, "..."]
        line = ["fsprobe", "run", "-o", "rec/", "--"] + shown
        line = found.whole(line) if len(found.words) > 1 else line
        raise _refused(found, "it stands behind %s" % found.behind, "put fsprobe before the starter", line)
    if found.name == "ch-run":
        return _charliecloud(found)
    if found.name in starters.APPTAINER:
        return _apptainer(found, environment)
    raise _refused(found, "fsprobe can't tell its image from its options", "", _line(found))


def inside(place: "str", command: "list[str]", options: "list[str]") -> "list[str]":
    """What runs in the container: the recorder, on the command's own Python where that is one."""
    recorder = os.path.join(place, RECORDER)
    if _PYTHON.match(os.path.basename(command[0])):
        start = [command[0], "-I", "-S", recorder]
    else:
        start = ["sh", "-c", _FIND_PYTHON, "sh", recorder]
    return start + options + ["--"] + command


def _apptainer(found: "Found", environment: "Mapping[str, str]") -> "Entry":
    words = list(found.words)
    if found.name == "run-singularity":
        known = [name for name in ("apptainer", "singularity") if host.find_program(name, environment)[0]]
        if not known:
            raise _refused(found, "there is neither apptainer nor singularity on PATH", "", _line(found))
        words[:1] = [known[0], "--quiet", "run"]
    at = 1
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in ("-c", "--config") else 1
    action = words[at] if at < len(words) else ""
    if action not in ("exec", "run"):
        raise _refused(found, "`%s` starts no command that could be recorded" % (action or "nothing"), "", _line(found))
    is_app = False
    image = at + 1
    while image < len(words) and words[image].startswith("-") and len(words[image]) > 1:
        word = words[image]
        if word == "--":
            image += 1
            break
        name, has_value, _ = word[2:].partition("=")
        is_app = is_app or (word.startswith("--") and name == "app")
        if word.startswith("--"):
            if name not in _LONG_WITH_VALUE and name not in _LONG_ALONE and not has_value:
                raise _refused(found, "whether its option %s takes a value is not known" % word, "", _line(found))
            image += 2 if name in _LONG_WITH_VALUE and not has_value else 1
        else:
            image += 2 if _short_takes_next(word) else 1
    command = words[image + 1 :]
    if image >= len(words) or (action == "exec" and not command):
        raise _refused(found, "it names no image or no command", "", _line(found))
    if words[image].startswith("instance://"):
        raise _refused(found, "an instance runs already, and nothing can be bound into it", "", _line(found))
    if action == "run":
        if is_app:
            raise _refused(found, "`run --app` starts a program that only the image names", "", _line(found))
        words[at] = "exec"
        command = [_RUNSCRIPT, *command]
    return Entry(words[:image], words[image], command)


def _short_takes_next(word: "str") -> "bool":
    """Whether letters such as `-euB` end in an option whose value is the next word."""
    for at, letter in enumerate(word[1:], 1):
        if letter in _SHORT_WITH_VALUE:
            return at == len(word) - 1
    return False


def _charliecloud(found: "Found") -> "Entry":
    words = found.words
    at = 1
    while at < len(words) and words[at].startswith("-") and words[at] != "--":
        word = words[at]
        if word == "--private-tmp" or (word.startswith("-") and not word.startswith("--") and "t" in word[1:]):
            raise _refused(found, "a /tmp of its own shows nothing of outside", "", _line(found))
        at += 2 if word in _CHARLIE_WITH_VALUE else 1
    after = ["--"] if words[at + 1 : at + 2] == ["--"] else []
    command = words[at + 1 + len(after) :]
    if at >= len(words) or not command:
        raise _refused(found, "it names no image or no command", "", _line(found))
    entry = Entry(words[:at], words[at], command)
    entry.binds, entry.after_image = False, after
    return entry


def _line(found: "Found") -> "list[str]":
    """What to type, with this starter's own options."""
    starter = found.words[0] if found.name != "run-singularity" else "apptainer"
    recorder = ["python3", "/fsprobe/" + RECORDER, "-o", "/fsprobe/", "--", "CMD"]
    if found.name in starters.APPTAINER:
        return [starter, "exec", "-B", "$PWD:/fsprobe", "IMAGE", *recorder]
    if found.name in ("podman", "docker", "nerdctl"):
        return [starter, "run", "--rm", "-v", "$PWD:/fsprobe", "IMAGE", *recorder]
    if found.name == "enroot":
        return [starter, "start", "--mount", "$PWD:/fsprobe", "NAME", *recorder]
    if found.name in ("shifter", "sarus"):
        bind = (
            ["--volume=$PWD:/fsprobe"]
            if found.name == "shifter"
            else ["run", "--mount=type=bind,source=$PWD,destination=/fsprobe"]
        )
        image = ["--image=IMAGE"] if found.name == "shifter" else ["IMAGE"]
        return [starter, *bind, *image, *recorder]
    return ["ch-run", "-b", "$PWD:/mnt/0", "IMAGE", "--", "python3", "/mnt/0/" + RECORDER, "-o", "/mnt/0/", "--", "CMD"]


def _refused(found: "Found", why: "str", how: "str", line: "list[str]") -> "FsprobeError":
    spelled = " ".join(word if word.startswith("$PWD") or "=$PWD" in word else shlex.quote(word) for word in line)
    how = how or "write the recorder (`fsprobe recorder`) and start it inside"
    return FsprobeError(
        "%s starts a container, which is not traced from outside, and fsprobe can't enter with it: %s"
        % (found.name, why),
        "%s: `%s`" % (how, spelled),
    )
