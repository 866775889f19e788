"""What fsprobe puts into a target: it notes when each import begins and ends, and is otherwise not there.

A copy of this file stands alone in a directory that comes first on PYTHONPATH; the lines PLACE, MODE, NAMES, FILTERS, IMPORTS and
ROOM (the text of imports.py and room.py) are filled in. PLACE and the last N_DIGITS directories above this one, each named by one digit, make the
path of the run's scratch directory (see `capture/directories/hook_place.py`). The copy outlives the run: where that directory
is not there any more, or is not this user's own, nothing is done. It runs on CPython 3.6 and later, imports nothing that is
not built into the interpreter, holds no file descriptor, and leaves sys.path and sys.modules as they would be without it.

MODE "time" writes `monotonic_ns tid >module` lines into memory that is shared with a file of its own (3.8+, see room.py);
fsprobe merges them with the tracer's stream by time. After its start it then asks the kernel for nothing. MODE "access" makes a
system call that fails at once instead (posix.access with an invalid directory descriptor), which the tracer prints. "both" is
for tests that compare the two. A few such calls are made at the start in every mode: they tell the tracer's clock and process
numbers from those that this process sees. MODE "ring" makes them with a mode that no program uses: the inline recorder takes
them before they reach the kernel, and they succeed only there.
"""

PLACE = ""
N_DIGITS = 0
MODE = "access"
NAMES = ()
IMPORTS = ""
ROOM = ""
AUDIT = ""
FILTERS = 0


def _sys():
    # without an import: `-X importtime=2` lists also those of what is there already
    try:
        return type(__spec__).__init__.__globals__["sys"]
    except (NameError, AttributeError, KeyError):
        import sys  # Python 2, and whose importlib is not written in Python

        return sys


def _install(place, n_digits, mode, names, imports, room, audit, filters):
    sys = _sys()
    here = __file__.rpartition("/")[0]
    # first of all, whatever interpreter this is (Python 2 reads this file too): it must not be found a second time
    sys.path[:] = [entry for entry in sys.path if entry != here]
    sys.path_importer_cache.pop(here, None)
    try:
        _thread, posix = _borrow(sys, "_thread"), _borrow(sys, "posix")
        lent = [_borrow(sys, name) for name in ("_functools", "_operator", "_string", "itertools", "time")]
        partial, clocks = lent[0].partial, lent[4]
        monotonic = clocks.monotonic
    except (ImportError, AttributeError):
        return
    bootstrap = sys.modules.get("_frozen_importlib")
    if hasattr(bootstrap, "_fsprobe") or _is_confined(posix, filters):
        return
    scratch = place + "".join(here.split("/")[-1 - n_digits : -1])
    known = _identify(posix, scratch)
    if known == "root's":
        # root's run, and this process goes on as somebody else, who can write nothing there: it marks by calls
        mode = "access" if mode in ("time", "access", "both") and not audit else ""
    if known is None or not mode:
        return
    marks = scratch + "/marks"
    try:
        now = clocks.monotonic_ns
        gettid = _thread.get_native_id
    except AttributeError:
        mode = mode if mode == "ring" else "access"  # CPython 3.6 and 3.7 can't say which thread it is, as the kernel counts them
        gettid = posix.getpid

        def now():
            return int(monotonic() * 1e9)

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
        "partial": partial,
        "count": lent[3].count,
        "islice": lent[3].islice,
        "repeat": lent[3].repeat,
        "starmap": lent[3].starmap,
        "and_": lent[1].and_,
        "is_": lent[1].is_,
        "itemgetter": lent[1].itemgetter,
        "methodcaller": lent[1].methodcaller,
        "parse_format": lent[2].formatter_parser,
        "borrow": _borrow,
        "get_attribute": object.__getattribute__,
        "leave": bytes(bytearray(b"fsprobe!may ask")),
        "now": now,
        "gettid": gettid,
        "getpid": posix.getpid,
        "get_ident": _thread.get_ident,
        "get_frame": sys._getframe,
        "exc_info": sys.exc_info,
        "identity": object.__hash__,  # as id(), of which audit hooks hear
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
    exec(compile(room, "<frozen importlib._bootstrap>", "exec"), space)
    state = space["State"]
    if audit:
        exec(compile(audit, "<frozen importlib._bootstrap>", "exec"), space)
        space["prepare"](sys, posix)
    _forget_bytecode(sys, posix)
    if not space["begin_process"]("begin") and mode == "ring":
        return  # this process is not recorded
    if (space["timed"] or audit) and not space["take_room"](sys, posix, *(space["sizes_here"]() if audit else space["SIZES"])):
        space["timed"] = False
        if audit:
            return
        space["note"]("lost")
    try:
        if known != "root's":
            _describe(sys, posix, state, space, names)
    except Exception:
        pass
    if bootstrap is not None:
        space["mark_imports"](bootstrap)
    site = sys.modules.get("site")
    # our own tracer writes into these bytes when the program confines itself (seccomp): from then on nothing may be asked for
    at = id(space["leave"]) + bytes.__basicsize__ - 1 if sys.implementation.name == "cpython" else 0
    space["note"]("ready", " %d %d" % (at, bool(getattr(site, "ENABLE_USER_SITE", None))))
    if audit:
        space["watch"](sys, posix)


def _borrow(sys, name):
    # A module that is built into the interpreter, without an import: nobody is told of it (`-X importtime`, -v, audit hooks), and
    # it is not in sys.modules afterwards unless it was before.
    found = sys.modules.get(name)
    if found is not None:
        return found
    imp = sys.modules.get("_imp")
    try:
        if name in sys.builtin_module_names and imp is not None:
            spec = type(sys.implementation)(name=name, origin="built-in", loader=None)
            found = imp.create_builtin(spec)
            imp.exec_builtin(found)
        else:
            found = __import__(name)  # another interpreter than CPython, or built in another way
        return found
    finally:
        sys.modules.pop(name, None)


def _is_confined(posix, most):
    # Whether this interpreter was started in a sandbox: with more of the kernel's filters (seccomp) than fsprobe has, and its
    # tracer adds. Such a filter may kill for what we ask; this asks by calls that the interpreter's start has made before.
    opened, text = [], b""
    try:
        opened.append(posix.open("/proc/self/status", posix.O_RDONLY | posix.O_NOCTTY | posix.O_NOFOLLOW | posix.O_CLOEXEC))
        text = posix.read(opened[-1], 1 << 14)
    except OSError:
        pass
    finally:
        for fd in opened:
            posix.close(fd)
    number = text.partition(b"\nSeccomp_filters:\t")[2].partition(b"\n")[0]
    return int(number) > most if number.isdigit() else b"\nSeccomp:\t2" in text and not most


def _identify(posix, scratch):
    # device, inode and owner of the directory that marks go to; None when the run is over or it isn't the user's own, and
    # "root's" when it is root's and the user is another. What this does is counted as fsprobe's own by these very flags
    flags = posix.O_PATH | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
    known, opened = None, []
    try:
        for name in (scratch, "marks"):
            opened.append(posix.open(name, flags, dir_fd=opened[-1] if opened else None))
            found = posix.fstat(opened[-1])
            if found.st_mode & 0o777 != 0o700 or found.st_uid not in (0, posix.geteuid()):
                return None
            if found.st_uid != posix.geteuid():
                return "root's"  # what is in it can't be asked for
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
    opened = []
    for name in names:
        value = posix.environ.get(name.encode())
        if value is not None:
            facts["environment"][name] = value.decode("utf-8", "surrogateescape")
    try:
        facts["mounts"] = "mounts.%d" % posix.stat("/proc/self/ns/mnt").st_ino
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC | posix.O_NOFOLLOW
        space["open_into"](opened, space["marks"] + "/" + facts["mounts"], flags, 0o600)
    except OSError:
        pass  # another process of the same mount namespace has written it
    if len(opened) == 2:
        target = opened[-1]
        source = posix.open("/proc/self/mountinfo", posix.O_RDONLY | posix.O_CLOEXEC)
        while True:
            block = posix.read(source, 1 << 16)
            if not block:
                break
            posix.write(target, block)
        posix.close(source)
    for fd in opened:
        posix.close(fd)
    space["write_out"](space["marks"] + "/marks." + state.token, ("=%s\n" % ascii(facts)).encode())


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
def is_own(error):
    # Whether an exception is of our own making: a call of ours that failed, or that an audit hook of the target refused. Whatever
    # else comes up while we run is meant for the target, and goes on to it: what a signal's handler raises, KeyboardInterrupt,
    # what another thread has set. That one is made without arguments.
    place, ours = error.__traceback__, globals()
    while place.tb_next is not None and place.tb_next.tb_frame.f_globals is ours:
        place = place.tb_next
    if place.tb_next is None:
        known_kind = isinstance(error, Exception) and type(error).__module__ == "builtins"
        return known_kind and (bool(error.args) or type(error) is MemoryError)
    frame = place.tb_next.tb_frame
    given = [frame.f_locals.get(name) for name in frame.f_code.co_varnames[:3]]
    return [one for one in given if type(one) is str and one == "open"] != []


def open_into(opened, path, flags, mode=0o777):
    # Adds descriptors to a list, the wanted one last, each in one step: an exception that arrives between two steps leaves none
    # behind. What is below the directory of marks is opened by way of that very directory: when the run is over, anybody may have
    # made one of the same name.
    if path[:len(marks) + 1] != marks + "/":
        opened.extend(map(os_open, [path], [flags], [mode]))
        return
    opened.extend(map(os_open, [marks], [place_flags]))
    found = fstat(opened[-1])
    if (found.st_dev, found.st_ino) != known[:2] or found.st_uid not in (known[2], geteuid()) or found.st_mode & 0o777 != 0o700:
        raise FileNotFoundError(2, "this run is over")
    opened.extend(map(partial(os_open, dir_fd=opened[-1]), [path[len(marks) + 1:]], [flags], [mode]))


def write_out(path, data):
    # at the hook's start alone
    opened = []
    try:
        open_into(opened, path, append_flags, 0o600)
        while data:
            data = data[write(opened[-1], data):]
    finally:
        for fd in opened:
            close(fd)
'''

_SOURCE = r'''
CONFINED = ord("c")


# up to where the file of a process is allocated at first, its size, and the same of those that are forked off
SIZES = "room", 1 << 16, 1 << 20, 1 << 12, 1 << 14
MAX_NAME = 400


class State:
    token = ""
    early = {}


def note(word, rest=""):
    # an access call relative to no directory: fails at once, looks nothing up, and the tracer prints it with its own stamp
    if leave[0] == CONFINED:
        return False
    return access(("fsprobe!%s %s %d %d%s" % (word, State.token, gettid(), now(), rest)).encode("utf-8", "replace"), how, dir_fd=-1)


def begin_process(word):
    State.token = "%d.%s" % (getpid(), urandom(6).hex())
    is_taken = note(word)
    if timed:
        note("at")
        note("at")
    return is_taken


def used(rest):
    # a lazy import is loaded at its first use
    if visible:
        note("lazy", rest)
    elif timed:
        store(("%d %s !lazy%s\n" % (now(), thread_id(get_ident()), rest)).encode("utf-8", "replace"))


def spelled(name):
    # a name that any file takes: half a surrogate pair and NUL can't be written
    if name.isprintable():
        return name
    return "".join(["\\x%x" % ord(c) if c == "\0" or "\ud800" <= c < "\udc80" or "\udcff" < c < "\ue000" else c for c in name])


def mark(kind, name):
    when = now()
    name = spelled(name[:MAX_NAME])
    if visible and leave[0] != CONFINED:
        access(("fsprobe" + kind + name).encode("utf-8", "surrogateescape"), how, dir_fd=-1)
    if timed:
        line = "%d %s %s%s\n" % (when, thread_id(get_ident()), kind, name.replace("\n", "\\n"))
        store(line.encode("utf-8", "surrogateescape"))
'''

_install(PLACE, N_DIGITS, MODE, NAMES, IMPORTS, ROOM, AUDIT, FILTERS)
del _install, _borrow, _is_confined, _identify, _describe, _forget_bytecode, _OPENING, _SOURCE
del PLACE, N_DIGITS, MODE, NAMES, IMPORTS, ROOM, AUDIT, FILTERS
# The user's own sitecustomize, as if this one had never been found; if there is none, the very ImportError that site expects.
try:
    # in a `try`, where no import is lazy (`-X lazy_imports=all`)
    _sys().modules.pop("sitecustomize", None)
    del _sys
    import sitecustomize  # noqa: F401
finally:
    pass
