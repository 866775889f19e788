"""What fsprobe puts into a target: it notes when each import begins and ends, and is otherwise not there.

A copy of this file stands alone in a directory that comes first on PYTHONPATH; the lines PLACE, MODE, NAMES and IMPORTS (the
text of imports.py) are filled in. PLACE and the last N_DIGITS directories above this one, each named by one digit, make the
path of the run's scratch directory (see `capture/directories/hook_place.py`). The copy outlives the run: where that directory
is not there any more, or is not this user's own, nothing is done. It runs on CPython 3.6 and later, imports nothing that is
not built into the interpreter, holds no file descriptor, and leaves sys.path and sys.modules as they would be without it.

MODE "time" appends `monotonic_ns tid >module` lines by path to a file of its own (3.8+); fsprobe merges them with the
tracer's stream by time. MODE "access" makes a system call that fails at once instead (posix.access with an invalid
directory descriptor), which the tracer prints. "both" is for tests that compare the two. A few such calls are made in
every mode: they tell the tracer's clock and process numbers from those that this process sees. MODE "ring" makes them with a
mode that no program uses: the inline recorder takes them before they reach the kernel, and they succeed only there.
"""

PLACE = ""
N_DIGITS = 0
MODE = "access"
NAMES = ()
IMPORTS = ""
AUDIT = ""


def _install(place, n_digits, mode, names, imports, audit):
    import sys

    here = __file__.rpartition("/")[0]
    # first of all, whatever interpreter this is (Python 2 reads this file too): it must not be found a second time
    sys.path[:] = [entry for entry in sys.path if entry != here]
    sys.path_importer_cache.pop(here, None)
    had_time = "time" in sys.modules
    try:
        import _thread
        import posix
        from time import monotonic
    except ImportError:
        return
    bootstrap = sys.modules.get("_frozen_importlib")
    if hasattr(bootstrap, "_fsprobe"):
        return
    scratch = place + "".join(here.split("/")[-1 - n_digits : -1])
    known = _identify(posix, scratch)
    if known is None:
        if not had_time:
            sys.modules.pop("time", None)
        return
    marks = scratch + "/marks"
    try:
        from time import monotonic_ns as now

        gettid = _thread.get_native_id
    except (ImportError, AttributeError):
        mode = mode if mode == "ring" else "access"  # CPython 3.6 and 3.7 can't say which thread it is, as the kernel counts them
        gettid = posix.getpid

        def now():
            return int(monotonic() * 1e9)

    if not had_time:
        sys.modules.pop("time", None)
    # Under importlib's own file name, so that the interpreter strips these frames from a traceback.
    space = {
        "access": posix.access,
        "urandom": posix.urandom,
        "os_open": posix.open,
        "fstat": posix.fstat,
        "geteuid": posix.geteuid,
        "known": known,
        "place_flags": posix.O_PATH | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC,
        "write": posix.write,
        "close": posix.close,
        "append_flags": posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC | getattr(posix, "O_NOFOLLOW", 0),
        "new_lock": _thread.allocate_lock,
        "now": now,
        "gettid": gettid,
        "getpid": posix.getpid,
        "get_ident": _thread.get_ident,
        "get_frame": sys._getframe,
        "exc_info": sys.exc_info,
        "sys": sys,
        "modules": sys.modules,
        "marks": marks,
        "timed": mode in ("time", "both"),
        "visible": mode in ("access", "both", "ring"),
        "how": 0x46535021 if mode == "ring" else 0,
        "__builtins__": __builtins__,
    }
    exec(compile(_OPENING, "<frozen importlib._bootstrap>", "exec"), space)
    exec(compile(_SOURCE, "<frozen importlib._bootstrap>", "exec"), space)
    exec(compile(imports, "<frozen importlib._bootstrap>", "exec"), space)
    state = space["State"]
    if audit:
        exec(compile(audit, "<frozen importlib._bootstrap>", "exec"), space)
        space["prepare"](sys, posix)
    if not space["begin_process"]("begin") and mode == "ring":
        return  # this process is not recorded
    try:
        _describe(sys, posix, state, space, names)
    except Exception:
        pass
    _forget_bytecode(sys, posix)
    if bootstrap is not None:
        space["mark_imports"](bootstrap)
    site = sys.modules.get("site")
    space["note"]("ready", " %d" % bool(getattr(site, "ENABLE_USER_SITE", None)))
    if audit:
        space["watch"](sys, posix)


def _identify(posix, scratch):
    # device, inode and owner of the directory that marks go to; None when the run is over or it isn't the user's own. What
    # this does is counted as fsprobe's own by these very flags
    flags = posix.O_PATH | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
    known, opened = None, []
    try:
        for name in (scratch, "marks"):
            opened.append(posix.open(name, flags, dir_fd=opened[-1] if opened else None))
            found = posix.fstat(opened[-1])
            if found.st_uid != posix.geteuid() or found.st_mode & 0o777 != 0o700:
                return None
            known = (found.st_dev, found.st_ino, found.st_uid)
        return known
    except (OSError, ValueError):
        return None
    finally:
        for fd in opened:
            posix.close(fd)


def _describe(sys, posix, state, space, names):
    # what the report needs to know of this interpreter; between the notes "begin" and "ready", so counted as fsprobe's own
    facts = {
        "pid": posix.getpid(),
        "ns": space["now"](),
        "version": sys.version.split()[0],
        "implementation": sys.implementation.name,
        "executable": sys.executable,
        "prefix": sys.prefix,
        "base_prefix": getattr(sys, "base_prefix", sys.prefix),
        "exec_prefix": sys.exec_prefix,
        "path": list(sys.path),
        "cache_tag": sys.implementation.cache_tag,
        "dont_write_bytecode": bool(sys.dont_write_bytecode),
        "pycache_prefix": getattr(sys, "pycache_prefix", None),
        "extension_suffixes": list(sys.modules["_imp"].extension_suffixes()),
        "user_site": getattr(sys.modules.get("site"), "USER_SITE", None),
        "enable_user_site": getattr(sys.modules.get("site"), "ENABLE_USER_SITE", None),
        "environment": {},
        "mounts": None,
    }
    for name in names:
        value = posix.environ.get(name.encode())
        if value is not None:
            facts["environment"][name] = value.decode("utf-8", "surrogateescape")
    try:
        facts["mounts"] = "mounts.%d" % posix.stat("/proc/self/ns/mnt").st_ino
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC | posix.O_NOFOLLOW
        target = space["open_"](space["marks"] + "/" + facts["mounts"], flags, 0o600)
    except OSError:
        target = -1  # another process of the same mount namespace has written it
    if target >= 0:
        source = posix.open("/proc/self/mountinfo", posix.O_RDONLY | posix.O_CLOEXEC)
        while True:
            block = posix.read(source, 1 << 16)
            if not block:
                break
            posix.write(target, block)
        posix.close(source)
        posix.close(target)
    space["append"]("=%s\n" % ascii(facts))


def _forget_bytecode(sys, posix):
    # with a pycache prefix this file's bytecode lies under it, outside of what fsprobe takes away
    prefix, cached = getattr(sys, "pycache_prefix", None), globals().get("__cached__")
    if not prefix or not cached or not cached.startswith(prefix):
        return
    try:
        posix.unlink(cached)
        while cached.rpartition("/")[0] != prefix.rstrip("/"):
            cached = cached.rpartition("/")[0]
            posix.rmdir(cached)
    except OSError:
        pass


_OPENING = r'''
def open_(path, flags, mode=0o777):
    # what is below the directory of marks is opened by way of that very directory: when the run is over, anybody may have made
    # one of the same name
    if path[:len(marks) + 1] != marks + "/":
        return os_open(path, flags, mode)
    place = os_open(marks, place_flags)
    try:
        found = fstat(place)
        if (found.st_dev, found.st_ino) != known[:2] or found.st_uid not in (known[2], geteuid()) or found.st_mode & 0o777 != 0o700:
            raise FileNotFoundError(2, "this run is over")
        return os_open(path[len(marks) + 1:], flags, mode, dir_fd=place)
    finally:
        close(place)
'''

_SOURCE = r'''
class State:
    token = ""
    depth = {}
    early = {}
    lines = []
    lock = None
    flushed = 0


def note(word, rest=""):
    # an access call relative to no directory: fails at once, looks nothing up, and the tracer prints it with its own stamp
    try:
        return access("fsprobe!%s %s %d %d%s" % (word, State.token, gettid(), now(), rest), how, dir_fd=-1)
    except Exception:
        return False


def begin_process(word):
    State.pid = getpid()
    State.token = "%d.%s" % (State.pid, urandom(6).hex())
    State.depth = {gettid(): 0}
    State.lines = []
    State.lock = new_lock()
    # a process that was forked off goes on with the imports of the thread that forked
    State.early = {get_ident(): State.early.get(get_ident(), [])}
    is_taken = note(word)
    if timed:
        note("at")
        note("at")
    return is_taken


def begin_thread(tid):
    # the first mark of a thread, or of a process that was forked off: then what its parent had not yet written stays the parent's
    if getpid() != State.pid:
        begin_process("fork")
    else:
        State.depth[tid] = 0
        note("at")
        note("at")


def append(text):
    # by path and closed again at once: a descriptor that stays open could be closed or inherited by the target
    try:
        fd = open_(marks + "/marks." + State.token, append_flags, 0o600)
        try:
            data = text.encode("utf-8", "surrogateescape")
            while data:
                data = data[write(fd, data):]
        finally:
            close(fd)
    except Exception:
        note("lost")


def flush(when):
    State.flushed = when
    if State.lock.acquire(False):
        try:
            lines = State.lines[:]
            append("".join(lines))
            del State.lines[:len(lines)]
        finally:
            State.lock.release()


def mark(kind, name, step):
    when = now()
    if visible:
        access("fsprobe" + kind + name, how, dir_fd=-1)
    if timed:
        tid = gettid()
        if tid not in State.depth:
            begin_thread(tid)
        State.lines.append("%d %d %s%s\n" % (when, tid, kind, name.replace("\n", "\\n")))
        depth = State.depth[tid] = State.depth[tid] + step
        # what is not yet written is lost when the process is killed, replaced or ended by os._exit
        if depth <= 0 or when - State.flushed > 20000000:
            flush(when)
'''

_install(PLACE, N_DIGITS, MODE, NAMES, IMPORTS, AUDIT)
del _install, _identify, _describe, _forget_bytecode, _OPENING, _SOURCE, PLACE, N_DIGITS, MODE, NAMES, IMPORTS, AUDIT
# The user's own sitecustomize, as if this one had never been found; if there is none, the very ImportError that site expects.
try:
    # in a `try`, where no import is lazy (`-X lazy_imports=all`)
    import sys as _sys

    _sys.modules.pop("sitecustomize", None)
    del _sys
    import sitecustomize  # noqa: F401
finally:
    pass
