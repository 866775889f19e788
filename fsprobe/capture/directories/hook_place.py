"""Where the hook lies: in a directory that only its user can make, now and after the run.

PYTHONPATH outlives a run: in daemons, and in jobs that were submitted with their environment. Whoever can make the directory
that it names runs code as the user. So that directory and every one above it belong to the user or to root, and nobody else
can write there: not even in a sticky directory, where a name is anybody's once it is free.

The hook is written once for each of its contents, which name the directory, and stays for later and concurrent runs. Which
run an interpreter belongs to is told by its path: `fsprobe-CONTENT/4/f/.../hook`, where each of the digits of the scratch
directory is a link to the directory that it lies in. So a run writes nothing here, leaves nothing here, and adds no variable.
Root's hook others may read: a program that root starts can go on as another user, and its imports are still marked, by calls.
Only where the scratch is not in `SHARED` (--tmp-dir) its path is part of the content, and the hook is removed after the run;
it lies in the scratch itself where that is safe, since the user may have chosen what a container sees too.

Runs inside the recorder that travels: standard library only, syntax of Python 3.6.
"""

import errno
import itertools
import os
import re
import stat
import time
import zlib

from fsprobe.capture.directories import private
from fsprobe.capture.directories import scratch as scratch_dir
from fsprobe.capture.machine import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SHARED = "/dev/shm/" + scratch_dir.PREFIX
"""How the path of a scratch directory begins whose hook is shared."""
FOLDER = "fsprobe"
DIGITS = "0123456789abcdef"
FILE = "sitecustomize.py"
SYSTEM = "/run"
"""Of root alone, and first for it: what root starts may go on as another user, who can read nothing of root's home."""
COMMON = ("/tmp", "/var/tmp", "/dev/shm")
"""Writable by everybody on some other node, whatever they are here."""
MAX_AGE_S = 30 * 86400
"""A hook that no run has asked for since is taken away: of an older fsprobe, or of a run that was killed. A judgement: a job that runs
for longer and starts interpreters all the time has its later imports estimated."""
USED_S = 86400
"""So old a hook's time may be before a run that uses it sets it anew."""


def tail_digits(scratch: "str") -> "str":
    """The digits that tell a run from others of the same hook; "" where its scratch is at a place of its own."""
    match = re.match(re.escape(SHARED) + "([0-9a-f]{12})$", scratch)
    return match.group(1) if match else ""


def install(text: "str", scratch: "str", environment: "Mapping[str, str]") -> "tuple[str, str]":
    """Write the hook, unless it is there already.

    Args:
        text: the hook.
        scratch: the run's scratch directory.
        environment: names the user's directories.

    Returns:
        The directory to put on PYTHONPATH and "", or "" and why there is none.
    """
    data = text.encode("utf-8")
    name = "%s%08x%04x" % (scratch_dir.PREFIX, zlib.crc32(data) & 0xFFFFFFFF, len(data) & 0xFFFF)
    tail = "/".join(list(tail_digits(scratch)) + [scratch_dir.HOOK])
    reasons = {}  # type: dict[str, str]
    own = [] if tail_digits(scratch) else [("its own scratch", scratch, why_not_common(scratch))]
    # one after the other: to look for a home directory asks the system's user database
    for label, path, why_not in itertools.chain(own, candidates(environment)):
        names = () if path == scratch else (FOLDER, name)  # type: tuple[str, ...]
        try:
            if why_not:
                raise private.Unsafe(why_not)
            if _write(path, names, tail, data) and names:
                _forget_old(os.path.join(path, FOLDER), name)
        except OSError as error:
            reasons[label] = "%s: %s" % (label, error.strerror)
        except private.Unsafe as error:
            reasons[label] = "%s %s" % (label, error)
        else:
            return os.path.join(path, *(names + (tail,))), ""
    return "", "; ".join(reasons.values()) or "neither XDG_RUNTIME_DIR nor HOME is set"


def first_place(environment: "Mapping[str, str]") -> "tuple[str, str]":
    """Where the hook of a run goes whose scratch is in `SHARED`; nothing is made.

    Returns:
        The directory and "", or "" and why none will do.
    """
    reasons = {}  # type: dict[str, str]
    for label, path, why_not in candidates(environment):
        try:
            if why_not:
                raise private.Unsafe(why_not)
            _look_at(path)
        except OSError as error:
            reasons[label] = "%s: %s" % (label, error.strerror)
        except private.Unsafe as error:
            reasons[label] = "%s %s" % (label, error)
        else:
            return os.path.join(path, FOLDER), ""
    return "", "; ".join(reasons.values()) or "neither XDG_RUNTIME_DIR nor HOME is set"


def _look_at(path: "str") -> "None":
    """See whether the hook's folder is below `path`, or could be made there.

    Raises:
        Unsafe: somebody else could put something of their own there.
        OSError: it can't be opened or made.
    """
    folder = os.path.join(path, FOLDER)
    if os.path.lexists(folder):
        os.close(private.open_private(folder, make=1, for_all=path == SYSTEM))
        return
    # as `open_private` makes it: the place's own last name too, in a directory of the user's own
    above = path if os.path.lexists(path) else os.path.dirname(path)
    os.close(private.open_private(above))
    if not os.access(above, os.W_OK | os.X_OK) or (above != path and os.stat(above).st_uid != os.geteuid()):
        raise OSError(errno.EACCES, "%s is not writable" % above)


def network_of(hook_dir: "str", rows: "list[mounts.MountRow]") -> "str":
    """The type of the network filesystem that the hook lies on; "" where that is another one, or none is known."""
    row = mounts.mount_of(os.fsencode(hook_dir), rows) if hook_dir else None
    return row[1] if row is not None and mounts.classify(row[1]) == "network" else ""


def remove(hook_dir: "str", scratch: "str") -> "None":
    """Take away the hook of one run; a shared one stays.

    What `install` has not made is left alone, whatever a file says: a directory of that name with nothing but a hook in it.
    """
    made, name = os.path.split(hook_dir)
    if not hook_dir or name != scratch_dir.HOOK or tail_digits(scratch):
        return
    is_named = re.match(scratch_dir.PREFIX + "[0-9a-f]{12}$", os.path.basename(made))
    if made == scratch or (is_named and os.path.basename(os.path.dirname(made)) == FOLDER and _is_hook_alone(made)):
        # nobody else can have put a link on the way or below it
        scratch_dir.remove(made if made != scratch else hook_dir)


def _forget_old(folder: "str", kept: "str") -> "None":
    """Take away hooks that nobody has used for long: where one is written for the first time, so seldom."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        path = os.path.join(folder, name)
        if name == kept or not re.match(scratch_dir.PREFIX + "[0-9a-f]{12}$", name):
            continue
        try:
            made = os.lstat(path)
            hook = os.path.join(path, scratch_dir.HOOK)
            used_s = max(made.st_mtime, os.lstat(os.path.join(hook, FILE)).st_mtime)
            is_ours = set(os.listdir(path)) <= set(DIGITS) | {scratch_dir.HOOK}
        except OSError:
            continue
        if is_ours and stat.S_ISDIR(made.st_mode) and made.st_uid == os.geteuid() and time.time() - used_s > MAX_AGE_S:
            scratch_dir.remove(path)


def _is_hook_alone(made: "str") -> "bool":
    try:
        return os.listdir(made) == [scratch_dir.HOOK] and set(os.listdir(os.path.join(made, scratch_dir.HOOK))) <= {
            FILE,
            "__pycache__",
        }
    except OSError:
        return False


def candidates(environment: "Mapping[str, str]") -> "Iterator[tuple[str, str, str]]":
    """Directories to look at, in order: what names each, its path, and why it won't do as far as that is known.

    One may come twice, the second time by its real path: a reason against the first is none then.
    """
    if SYSTEM and os.geteuid() == 0:
        yield SYSTEM, SYSTEM, ""
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    if runtime:
        above, name = os.path.split(runtime.rstrip("/"))
        for label, path, _ in _as_named("XDG_RUNTIME_DIR", above):
            yield label, os.path.join(path, name), _why_not_runtime(runtime, os.path.join(path, name))
    local = environment.get("TMPDIR", "")
    if local:
        yield "TMPDIR", os.path.realpath(local), _why_not_local(os.path.realpath(local), environment)
    cache = environment.get("XDG_CACHE_HOME", "")
    homes = [os.path.join(environment.get("HOME", ""), ".cache")]
    if os.path.isabs(cache):
        yield from _as_named("XDG_CACHE_HOME", cache)
    elif os.path.isabs(homes[0]):
        yield from _as_named("HOME", homes[0])
    # under `su` and `sudo` HOME may be somebody else's
    home = os.path.join(_own_home(), ".cache")
    if os.path.isabs(home) and home not in homes:
        yield from _as_named("the home directory", home)


def _as_named(label: "str", path: "str") -> "Iterator[tuple[str, str, str]]":
    """A directory by the name that it was given, which is seldom a link's; then by its real path, if that is another.

    `open_private` goes through no link. To look for one first would ask for each of the directories once more.
    """
    names = [name for name in path.split("/") if name not in ("", ".")]
    plain = "/" + "/".join(names)
    if ".." not in names:
        yield label, plain, ""
    real = os.path.realpath(path)
    if real != plain:
        yield label, real, ""


def _own_home() -> "str":
    import pwd  # asks the system's user database: only where it is needed

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return ""


def _why_not_runtime(given: "str", path: "str") -> "str":
    if not os.path.isabs(given):
        return "is no absolute path"
    try:
        found = os.lstat(path)
    except OSError as error:
        return error.strerror or "is not there"
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) != 0o700:
        return "is no directory of this user's own with mode 0700"
    return ""


def why_not_common(path: "str") -> "str":
    """Why a path won't do whose name other users can make on another node, or once it is gone; "" for others."""
    return "is where everybody may write" if (path + "/").startswith(tuple(place + "/" for place in COMMON)) else ""


def _why_not_local(path: "str", environment: "Mapping[str, str]") -> "str":
    if why_not_common(path):
        return why_not_common(path)
    row = mounts.mount_of(os.fsencode(path), mounts.parse_mountinfo(mounts.read_own()))
    if row is None or mounts.classify(row[1]) not in ("local", "memory"):
        return "is not on this node"
    try:
        found = os.lstat(path)
    except OSError as error:
        return error.strerror or "is not there"
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) != 0o700:
        return "is no directory of this user's own with mode 0700"
    # a place that is handed on from job to job (/local/slot3) is somebody else's own the next time
    names = [environment.get(name) for name in ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "USER")]
    words = re.split(r"[^A-Za-z0-9]+", path)
    # a user id is a small number, which many a random name ends with: it counts as a name of its own alone
    if not any(name and name.split(".")[0] in words for name in names) and str(os.geteuid()) not in path.split("/"):
        return "does not say whose it is"
    return ""


def _write(path: "str", names: "tuple[str, ...]", tail: "str", data: "bytes") -> "bool":
    """Write the hook below `path`, where `tail` leads to it; what is there already is not written again.

    Returns:
        Whether it had to be written.
    """
    for_all = path == SYSTEM
    hook = private.open_private(os.path.join(path, *(names + (scratch_dir.HOOK,))), len(names) + 1, for_all)
    try:
        # by the way that an interpreter will go: whoever could lead it elsewhere could change the hook itself
        found = private.holds(hook, "../%s/%s" % (tail, FILE), data)
        if found is not None:
            _note_use(hook, found.st_mtime)
            return False
        _link(path, names, tail, hook)
        if private.holds(hook, FILE, data) is not None:
            return False
        private.put(hook, FILE, data, 0o644 if for_all else 0o600)
        return True
    finally:
        os.close(hook)


def _note_use(hook: "int", used_s: "float") -> "None":
    try:
        if time.time() - used_s > USED_S:
            os.utime(FILE, dir_fd=hook, follow_symlinks=False)
    except OSError:
        pass  # a read-only home


def _link(path: "str", names: "tuple[str, ...]", tail: "str", opened: "int") -> "None":
    """Make the links that the digits of `tail` go through, unless they are there."""
    hook = os.fstat(opened)
    # the directory above is the one that was checked on the way: nobody else can move what lies in it
    tail = "../" + tail
    try:
        found = os.stat(tail, dir_fd=opened)
    except FileNotFoundError:
        for digit in DIGITS:
            try:
                os.symlink(".", "../" + digit, dir_fd=opened)
            except FileExistsError:
                pass
        found = os.stat(tail, dir_fd=opened)
    if (found.st_dev, found.st_ino) != (hook.st_dev, hook.st_ino):
        raise private.Unsafe("will not do: a link in %s leads elsewhere" % os.path.join(path, *names))
