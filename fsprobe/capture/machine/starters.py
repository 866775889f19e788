"""Which commands start a container, told by looking at their words and their files; nothing is run.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.

Source: the manual pages of env, nice, timeout and the others for which of their options take a value.
"""

import os
import re

from fsprobe import files
from fsprobe.capture.machine import host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

APPTAINER = frozenset("apptainer singularity run-singularity".split())
STARTERS = APPTAINER | frozenset("ch-run podman docker nerdctl enroot shifter sarus charliecloud".split())
"""Programs that start others in a container, by their names."""
SERVERS = frozenset(
    "squashfuse squashfuse_ll fuse-overlayfs sshfs gocryptfs encfs cryfs bindfs rclone s3fs goofys mount-s3 gcsfuse "
    "fuse2fs fuse-zip archivemount ratarmount unionfs mergerfs cernvm-fs cvmfs2 juicefs fusermount fusermount3".split()
)
"""Programs that serve a filesystem (FUSE), by their names."""
TRACERS = frozenset(
    "gdb gdb-multiarch gdbserver cuda-gdb rocgdb gdb-oneapi lldb lldb-server strace ltrace rr udb pstack gstack eu-stack py-spy proot "
    "totalview ddt".split()
)
"""Programs that trace others (ptrace), by their names: each process has one tracer at most."""
SHELLS = frozenset("sh bash dash ash zsh ksh mksh".split())
MAX_SCRIPT_BYTES = 1 << 16
MAX_PREFIXES = 16
_places = {}  # type: dict[tuple[str, str | None], tuple[str | None, str]]
_links = {}  # type: dict[str, str]
_heads = {}  # type: dict[str, bytes]
_opened = {}  # type: dict[str, str]  # path -> what lay behind its links when it was opened
HEAD_BYTES = 4096
"""Of a program, for its magic and the names of what the kernel loads after it."""

# Programs that execute what stands after their own words: options that take the next word, and words of their own.
_PREFIXES = {
    "env": ("-u --unset -C --chdir", 0),
    "nice": ("-n --adjustment", 0),
    "nohup": ("", 0),
    "setsid": ("", 0),
    "timeout": ("-k --kill-after -s --signal", 1),
    "stdbuf": ("-i --input -o --output -e --error", 0),
    "ionice": ("-c --class -n --classdata", 0),
    "taskset": ("", 1),
    "chrt": ("-T --sched-runtime -P --sched-period -D --sched-deadline", 1),
    "time": ("-f --format -o --output", 0),
    "numactl": (
        "-i --interleave -p --preferred -m --membind -N --cpunodebind -C --physcpubind -w --weighted-interleave",
        0,
    ),
    "prlimit": ("", 0),
    "catchsegv": ("", 0),
}
_LAUNCHERS = frozenset(
    "srun mpirun mpiexec mpiexec.hydra orterun prun jsrun aprun flux sudo doas xargs parallel".split()
)
"""They start a command elsewhere, several times, or as somebody else: nothing can be brought out from behind them."""
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z_0-9]*=")
_NOT_SIMPLE = re.compile(r"[$`\\;&|<>()*?\[\]{}~#!\n]")
_QUOTED = re.compile(r"'[^']*'|\"[^\"$`\\!]*\"")
_BEFORE = r"(?:^|[\s;&|(){}`\"'/=])"
_IN_TEXT = re.compile(
    _BEFORE
    + r"(?:(apptainer|singularity|podman|docker|nerdctl|enroot|sarus)(?:[ \t]+-\S+(?:[ \t]+[^-\s]\S*)??)*?[ \t]+"
    r"(?:exec|run|shell|start|instance|compose)(?=\s)|(ch-run|shifter|run-singularity)(?=[ \t]+[-./\w]))",
    re.MULTILINE,
)
_SERVER_IN_TEXT = re.compile(
    _BEFORE + r"(%s)(?=[ \t]+[-./\w$\"'])" % "|".join(sorted(map(re.escape, SERVERS))), re.MULTILINE
)
_TRACER_IN_TEXT = re.compile(
    _BEFORE
    + r"(?:(rr)[ \t]+(?:record|replay)|(%s)[ \t]+(?!in[ \t])[-./\w$\"'])"
    % "|".join(sorted(map(re.escape, TRACERS - {"rr"}))),
    re.MULTILINE,
)
_COMMENT_BEHIND = re.compile(r"[ \t]#.*$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)
_SIF = b"#!/usr/bin/env run-singularity\n"
"""How an image file begins that can be executed; its magic word follows. Source: SIF's sif.go, hdrLaunch."""


class Found:
    """A container starter in a command."""

    def __init__(self, name: "str", words: "list[str]") -> "None":
        self.name = name
        """Of the starter, as `STARTERS` has it."""
        self.words = words
        """Its own command line; that of `run-singularity` where an image was to be executed itself."""
        self.behind = ""
        """What keeps anybody from putting other words in their place: a launcher, a shell's program; "" for nothing."""
        self.whole: "Callable[[list[str]], list[str]]" = _same
        """Gives the whole command with other words in their place."""


def find(command: "list[str]", environment: "Mapping[str, str]") -> "Found | None":
    """The container starter that a command comes to, also behind `env`, `nice`, `timeout`, `srun`, `bash -c` and the like.

    None where there is none, and where it can't be known: see `mentioned`. This is the first look at a command; what it finds
    the later ones (`mentioned`, `place_of`, `head_of`) do not look up again.
    """
    for table in (_places, _links, _heads, _opened):  # type: dict[Any, Any]
        table.clear()
    host.forget_privileges()
    return _find(list(command), environment, 0)


def mentioned(command: "list[str]", environment: "Mapping[str, str]") -> "str":
    """The container starter or FUSE server that a command is, or that stands in the shell script that it runs; "" for none."""
    words, _ = _without_prefixes(list(command))
    if not words:
        return ""
    name = name_of(words[0], environment)
    if name in STARTERS or name in SERVERS or words[0].endswith(".AppImage"):
        return name or os.path.basename(words[0])
    text, at = _shell_text(words)
    if at < 0:
        text = _script_text(words, environment)
    server = _SERVER_IN_TEXT.search(_COMMENT.sub("", text))
    return _in_text(text) or (server.group(1) if server else "")


def tracer_in(command: "list[str]", environment: "Mapping[str, str]", in_text: "bool" = True) -> "str":
    """The program that traces others which a command is, or starts as far as its words tell; "" for none.

    Args:
        command: its words.
        environment: where a script is looked up.
        in_text: look at the text of a shell script too, which only names it perhaps.
    """
    words, _ = _without_prefixes(list(command))
    if not words:
        return ""
    name = os.path.basename(words[0])
    if name in TRACERS:
        return name
    if name in _LAUNCHERS:
        return next((os.path.basename(word) for word in words[1:] if os.path.basename(word) in TRACERS), "")
    text, at = _shell_text(words) if in_text else ("", 0)
    if at < 0:
        text = _script_text(words, environment)
    found = _TRACER_IN_TEXT.search(_COMMENT_BEHIND.sub("", _COMMENT.sub("", text)))
    return (found.group(1) or found.group(2)) if found else ""


def known(word: "str", environment: "Mapping[str, str]") -> "tuple[str, bytes]":
    """Where a program is and how it begins, as far as `find` had to look; else "" and b""."""
    path, why_not = _places.get((word, environment.get("PATH")), ("", ""))
    return (path or "", _heads.get(path or "", b"")) if not why_not else ("", b"")


def place_of(word: "str", environment: "Mapping[str, str]") -> "str | None":
    """Where a program is, looked up once."""
    key = (word, environment.get("PATH"))
    if key not in _places:
        # a file that was opened need not be looked at too
        is_file = "/" in word and head_of(word) != b"" and os.access(word, os.X_OK)
        _places[key] = (word, "") if is_file else host.find_program(word, environment)
    return _places[key][0]


def name_of(word: "str", environment: "Mapping[str, str]") -> "str":
    """What a program is called without its version, by its own name or by that of the file behind a link; "" for no name of note."""
    path = place_of(word, environment)
    for place in (word, path and _last_of_links(path)):
        base = os.path.basename(place or "")
        # singularity-ce, singularity.apptainer, podman-remote, docker-compose
        for name in (base, re.split(r"[-.]", base)[0]):
            if name in STARTERS or name in SERVERS:
                return name
    return ""


def _last_of_links(path: "str") -> "str":
    """Where the links end that a path's last name leads to; its directories' are not asked for, which don't change the name."""
    if path not in _links and head_of(path) and path in _opened:
        return _opened[path]
    for _ in range(files.MAX_LINKS):
        if path not in _links:
            try:
                _links[path] = os.path.join(os.path.dirname(path), os.readlink(path))
            except OSError:
                _links[path] = path
        if _links[path] == path:
            break
        path = _links[path]
    return path


def _same(words: "list[str]") -> "list[str]":
    return words


def _find(words: "list[str]", environment: "Mapping[str, str]", depth: "int") -> "Found | None":
    rest, prefix = _without_prefixes(words)
    if not rest or depth > MAX_PREFIXES:
        return None
    base = os.path.basename(rest[0])
    found = None  # type: Found | None
    name = name_of(rest[0], environment)
    if name in STARTERS:
        found = Found(name, rest)
    elif base in _LAUNCHERS:
        found = _behind_launcher(rest, environment, depth)
    elif base in SHELLS:
        return _in_shell(prefix, rest, environment, depth)
    elif _is_image(rest[0], environment):
        path = place_of(rest[0], environment)
        found = Found("run-singularity", ["run-singularity", path or rest[0], *rest[1:]])
    return None if found is None else _after(prefix, found)


def _after(head: "list[str]", found: "Found") -> "Found":
    """The same starter in a command that has `head` before it."""
    inner = found.whole
    found.whole = lambda made: head + inner(made)
    return found


def _without_prefixes(words: "list[str]") -> "tuple[list[str], list[str]]":
    """A command line without what only changes how it is run, and that."""
    at = 0
    for _ in range(MAX_PREFIXES):
        known = _PREFIXES.get(os.path.basename(words[at])) if at < len(words) else None
        if known is None:
            break
        takes, own = known[0].split(), known[1]
        at += 1
        while at < len(words):
            word = words[at]
            if word == "--":
                at += 1
                break
            if _ASSIGNMENT.match(word):
                at += 1
            elif word.startswith("-") and len(word) > 1:
                at += 2 if word in takes else 1
            else:
                break
        at += own
        while own and at < len(words) and _ASSIGNMENT.match(words[at]):
            at += 1
    return words[at:], words[:at]


def _behind_launcher(words: "list[str]", environment: "Mapping[str, str]", depth: "int") -> "Found | None":
    """The starter among the words of a launcher, whose options nobody knows all of.

    The first word that is a program is what it starts, but for one that may be the value of an option before it.
    """
    for at in range(1, len(words)):
        word, before = words[at], words[at - 1]
        if word.startswith("-") or not word:
            continue
        base = os.path.basename(word)
        is_value = before.startswith("-") and before != "--" and "=" not in before and at > 1
        is_clear = name_of(word, environment) in STARTERS or base in SHELLS or base in _PREFIXES
        if not is_clear and (is_value or not place_of(word, environment)):
            if base.startswith("python"):
                return None
            continue
        found = _find(words[at:], environment, depth + 1)
        if found is None or found.behind:
            return found
        found.behind = os.path.basename(words[0])
        return _after(words[:at], found)
    return None


def _quoted(words: "list[str]") -> "str":
    import shlex

    return " ".join(map(shlex.quote, words))


def _in_shell(
    prefix: "list[str]", words: "list[str]", environment: "Mapping[str, str]", depth: "int"
) -> "Found | None":
    """The starter in a shell's `-c`: of one plain command its words are known, of any other text only that it is there."""
    text, at = _shell_text(words)
    if at < 0:
        return None
    if not _NOT_SIMPLE.search(_QUOTED.sub("", text)):
        try:
            import shlex

            inner_words = shlex.split(text)
        except ValueError:
            inner_words = []
        if inner_words[:1] == ["exec"]:
            del inner_words[0]
        found = _find(inner_words, environment, depth + 1)
        if found is None:
            return None
        inner = found.whole
        found.whole = lambda made: prefix + words[:at] + ["exec " + _quoted(inner(made))] + words[at + 1 :]
        return found
    name = _in_text(text)
    if name not in STARTERS:
        return None
    found = Found(name, [name])
    found.behind = "%s -c" % os.path.basename(words[0])
    found.whole = lambda made: prefix + words[:at] + [" ".join(made)] + words[at + 1 :]
    return found


def _shell_text(words: "list[str]") -> "tuple[str, int]":
    """The program that a shell is given by -c and where it stands; ("", -1) where there is none."""
    if os.path.basename(words[0]) not in SHELLS:
        return "", -1
    at, is_given = 1, False
    while at < len(words) and words[at][:1] in ("-", "+") and words[at] not in ("--", "-"):
        is_long = words[at].startswith("--")
        is_given = is_given or (not is_long and words[at][0] == "-" and "c" in words[at])
        at += 2 if words[at] in ("-o", "+o", "-O", "+O", "--rcfile", "--init-file") else 1
    if at < len(words) and words[at] in ("--", "-"):
        at += 1
    return (words[at], at) if is_given and at < len(words) else ("", -1)


def _script_text(words: "list[str]", environment: "Mapping[str, str]") -> "str":
    """What stands in the shell script that a command is or runs; "" for no script."""
    is_shell = os.path.basename(words[0]) in SHELLS
    place = next((word for word in words[1:] if word[:1] not in ("-", "+")), "") if is_shell else words[0]
    path = place if is_shell else place_of(place, environment)
    if not path:
        return ""
    head = head_of(path)
    if not is_shell:
        line = head.split(b"\n", 1)[0].split()
        if not head.startswith(b"#!") or not any(os.path.basename(os.fsdecode(one)) in SHELLS for one in line[-2:]):
            shown = [os.path.basename(os.fsdecode(one.lstrip(b"#!"))) for one in line[:2]]
            if not head.startswith(b"#!") or not any(one in SHELLS for one in shown):
                return ""
    return head.decode("utf-8", "replace")


def _in_text(text: "str") -> "str":
    found = _IN_TEXT.search(_COMMENT.sub("", text))
    return found.group(1) or found.group(2) if found else ""


def _is_image(word: "str", environment: "Mapping[str, str]") -> "bool":
    path = place_of(word, environment)
    return bool(path) and head_of(str(path)).startswith(_SIF)


def head_of(path: "str") -> "bytes":
    """How a file begins, of a script up to `MAX_SCRIPT_BYTES`, read once; b"" where it can't be read."""
    if path not in _heads:
        try:
            fd = files.descriptor_of(path)
            try:
                try:
                    _opened[path] = os.readlink("/proc/self/fd/%d" % fd)
                except OSError:
                    pass  # no /proc
                host.note_privilege(path, fd)
                head = files.take(fd, HEAD_BYTES)
                _heads[path] = head + files.take(fd, MAX_SCRIPT_BYTES - len(head)) if head[:2] == b"#!" else head
            finally:
                os.close(fd)
        except (OSError, ValueError):
            return b""
    return _heads[path]
