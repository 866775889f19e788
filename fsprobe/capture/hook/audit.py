# The audit backend inside a target: notes each call that names a path where the interpreter makes it, in strace's own words.
#
# Not a module: sitecustomize.py executes this text in the name space of its functions (State, now, gettid, open_, ...),
# under importlib's file name. Three sources: audit events (open, mkdir, ... ; CPython 3.8+), wrapped functions of posix (stat,
# lstat, access, readlink, listdir, scandir, open), and what importlib opens and loads. The lines go to a file of this
# process in node-local storage, opened by path for each block; `fsprobe.capture.audit` makes one log of all of them.

NOTED_LINES = 2000  # this many lines or this much time, then they are written: what is not is lost when the process is killed
NOTED_NS = 100000000
IMPORTED_NS = 10000000  # an import that has ended is written sooner: what follows may never call again
KEPT_LINES = 200000  # more than this are not kept when they can't be written


class Stream:
    path = ""
    known = set()
    lines = []
    waiting = {}
    lock = None
    flushed = 0
    stopped = False


def start_stream(word):
    # a new program image, or a process that was forked off: what its parent had not yet written stays the parent's
    forked_by, forked_at = (Stream.forking if word == "fork" else None) or (0, 0)
    Stream.path = "%s/calls.%s" % (marks, State.token)
    Stream.known = {gettid()}
    Stream.lines = []
    Stream.waiting = {}
    Stream.lock = new_lock()
    Stream.flushed = now()
    Stream.stopped = False
    Stream.lines.append("!%s %d %d %d %d %d %d\n" % (word, State.pid, getppid(), gettid(), now(), forked_by, forked_at))
    if word == "begin":
        words = ", ".join([quoted(word) for word in arguments()[:32]])
        put("execve(%s, [%s], 0x0 /* not observed */)" % (quoted(executable), words), "0")


Stream.forking = None


def arguments():
    fd = open_("/proc/self/cmdline", read_flags)
    try:
        return [word[:256].decode("utf-8", "surrogateescape") for word in read(fd, 1 << 16).split(b"\0")[:-1]]
    finally:
        close(fd)


def note(word, rest=""):
    if word in ("begin", "fork"):
        start_stream(word)
    try:
        put('faccessat2(-1, "fsprobe!%s %s %d %d%s", F_OK)' % (word, State.token, gettid(), now(), rest), "-1 EBADF")
    except Exception:
        pass


def mark(kind, name, step):
    put("faccessat2(-1, %s, F_OK)" % quoted("fsprobe" + kind + name), "-1 EBADF")
    if step < 0 and now() - Stream.flushed > IMPORTED_NS:
        flush()


def put(call, result):
    # one line; gives back where its result can be put in later
    tid = gettid()
    when = now()
    if tid not in Stream.known:
        if getpid() != State.pid:
            begin_process("fork")
        Stream.known.add(tid)
        if tid != State.pid:
            Stream.lines.append("%d %d clone(child_stack=0x1, flags=CLONE_VM|CLONE_FS|CLONE_THREAD) = %d\n" % (State.pid, when, tid))
    line = ["%d %d %s = " % (tid, when, call), result, "\n"]
    lines = Stream.lines
    lines.append(line)
    if len(lines) >= NOTED_LINES or when - Stream.flushed > NOTED_NS:
        if not Stream.stopped:
            flush()
        elif len(lines) > KEPT_LINES:
            del lines[:]
    return line


def flush():
    lock = Stream.lock
    if Stream.stopped or not lock.acquire(False):
        return
    try:
        lines = Stream.lines[:]
        Stream.flushed = now()
        data = "".join(["".join(line) for line in lines]).encode(encoding, "surrogateescape")
        try:
            fd = open_(Stream.path, append_flags, 0o600)
        except OSError as error:
            # 2: fsprobe has taken the place away, since there is enough; else later, for the target may lack descriptors now
            if error.errno == 2 or len(lines) > KEPT_LINES:
                Stream.stopped = True
                del Stream.lines[:]
            return
        try:
            while data:
                data = data[write(fd, data):]
        except OSError:
            Stream.stopped = True
        finally:
            close(fd)
        del Stream.lines[:len(lines)]
    except Exception:
        Stream.stopped = True
    finally:
        lock.release()


def quoted(path):
    if not path.isprintable() or '"' in path or "\\" in path:
        path = path.replace("\\", "\\\\").replace('"', '\\"')
        path = "".join([c if c >= " " and c != "\x7f" else "\\%03o" % ord(c) for c in path])
    return '"' + path + '"'


def text_of(path):
    # what a function was given as a path, or None for a descriptor
    if type(path) is str:
        return path
    if not isinstance(path, (str, bytes)):
        if isinstance(path, int):
            return None
        path = fspath(path)
    return path if isinstance(path, str) else path.decode(encoding, "surrogateescape")


def located(path, dir_fd=None):
    # absolute, as the tracers' logs show it: relative to the working directory or to that of a descriptor
    if path[:1] == "/":
        return quoted(path)
    try:
        base = readlink("/proc/self/fd/%d" % dir_fd) if dir_fd is not None and dir_fd >= 0 else getcwd()
    except OSError:
        return quoted(path)
    return quoted(base.rstrip("/") + "/" + path if path else "")


def outcome(failure, result):
    # None: it never came to a call (a wrong argument)
    if failure is None:
        return result
    number = getattr(failure, "errno", None)
    return "-1 %s" % error_names.get(number, "E%s" % number) if isinstance(failure, OSError) and number else None


# ---- wrapped functions ------------------------------------------------------------------------------------------------


def nothing():
    return
    yield


def wrap(function, record):
    # A stand-in for a built-in function that adds no frame to a traceback. What is called is a class: its __new__ calls
    # the function and records; when that raises, __new__ returns an instance whose __init__ raises the very exception from C
    # (throw of an exhausted generator). An instance of a class without __get__ does not bind as a method.
    # One difference remains: a warning that the function itself gives (a bool as a descriptor, 3.13) names this file's line.
    throw = exhausted.throw

    def _call_with_frames_removed(cls, *args, **kwargs):
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            failure = error
            failure.__traceback__ = failure.__traceback__.tb_next
        else:
            try:
                record(args, kwargs, result, None)
            except Exception:
                pass
            return result
        try:
            record(args, kwargs, None, failure)
        except Exception:
            pass
        failed = new_object(Failed)
        failed.throw = partial(throw, failure)
        return failed

    class Call:
        __slots__ = ()
        __new__ = _call_with_frames_removed

    class Failed(Call):
        __slots__ = ("throw",)
        __init__ = property(methodcaller("throw"))

    class Function:
        __slots__ = ("__weakref__",)
        __call__ = Call
        __module__ = function.__module__
        __doc__ = function.__doc__
        __class__ = property(lambda self: type(function))

        def __getattr__(self, name):
            return getattr(function, name)

        def __repr__(self):
            return repr(function)

        def __eq__(self, other):
            return other is self or other is function

        def __hash__(self):
            return hash(function)

        def __reduce__(self):
            return function.__name__

    return Function()


def record_stat(args, kwargs, result, failure):
    path = text_of(args[0] if args else kwargs["path"])
    if path is not None:
        value = outcome(failure, "0")
        if value is not None:
            shown = "{st_mode=%s, ...}" % KINDS.get(result.st_mode >> 12, "0") if failure is None else "0x0"
            flags = "0" if kwargs.get("follow_symlinks", True) else "AT_SYMLINK_NOFOLLOW"
            put("newfstatat(AT_FDCWD, %s, %s, %s)" % (located(path, kwargs.get("dir_fd")), shown, flags), value)


def record_lstat(args, kwargs, result, failure):
    kwargs["follow_symlinks"] = False
    record_stat(args, kwargs, result, failure)


def record_access(args, kwargs, result, failure):
    # it says no, but not why: that something is not there is known only when nothing else was asked for
    path = text_of(args[0] if args else kwargs["path"])
    mode = args[1] if len(args) > 1 else kwargs["mode"]
    if failure is None and path is not None:
        shown = "|".join([name for bit, name in ((4, "R_OK"), (2, "W_OK"), (1, "X_OK")) if mode & bit]) or "F_OK"
        value = "0" if result else "?" if mode else "-1 ENOENT"
        put("faccessat(AT_FDCWD, %s, %s)" % (located(path, kwargs.get("dir_fd")), shown), value)


def record_readlink(args, kwargs, result, failure):
    path = text_of(args[0] if args else kwargs["path"])
    value = outcome(failure, "0")
    if value is not None:
        target = text_of(result) if failure is None else ""
        put("readlink(%s, %s, 4096)" % (located(path, kwargs.get("dir_fd")), quoted(target)), value if failure else str(len(target)))


def record_listing(args, kwargs, result, failure):
    path = args[0] if args else kwargs.get("path")
    value = outcome(failure, "3")
    if value is None:
        return
    if isinstance(path, int):
        shown = quoted(readlink("/proc/self/fd/%d" % path))
    else:
        shown = located("." if path is None else text_of(path))
        put("openat(AT_FDCWD, %s, O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_DIRECTORY)" % shown, value)
    if failure is None:
        # libc reads until the kernel says that there is no more: two calls at least
        n_entries = len(result) if isinstance(result, list) else 1
        put("getdents64(3<%s>, 0x0 /* %d entries */, 32768)" % (shown[1:-1], n_entries), "24")
        put("getdents64(3<%s>, 0x0 /* 0 entries */, 32768)" % shown[1:-1], "0")


def record_open(args, kwargs, result, failure):
    value = outcome(failure, str(result))
    forget_opener(gettid())
    if value is not None:
        path = text_of(args[0] if args else kwargs["path"])
        flags = args[1] if len(args) > 1 else kwargs["flags"]
        put("openat(AT_FDCWD, %s, %s)" % (located(path, kwargs.get("dir_fd")), open_flags(flags)), value)


def forget_opener(tid):
    # open(..., opener=f) tells of an open that f makes: when we are inside that very call, only f's counts
    waiting = Stream.waiting.pop(tid, None)
    if waiting is None:
        return
    line, place, at = waiting
    frame = get_frame(3)
    for _ in range(8):
        if frame is None:
            return
        if id(frame) == place and frame.f_lasti == at:
            line[:] = []
            return
        frame = frame.f_back


def record_loaded(args, kwargs, result, failure):
    # what importlib opens: where events are, the event has begun the line and only its result is missing
    path = text_of(args[0] if args else kwargs["path"] if "path" in kwargs else kwargs["file"])
    value = outcome(failure, "3")
    waiting = Stream.waiting.pop(gettid(), None)
    if path is None or value is None:
        return
    if waiting is not None:
        waiting[0][1] = value
    elif not audited:
        put("openat(AT_FDCWD, %s, O_RDONLY|O_CLOEXEC)" % located(path), value)


def record_extension(args, kwargs, result, failure):
    put("openat(AT_FDCWD, %s, O_RDONLY|O_CLOEXEC)" % located(text_of(args[0].origin)), "3")


def open_flags(flags):
    shown = [("O_RDONLY", "O_WRONLY", "O_RDWR", "O_RDWR")[flags & 3]]
    return "|".join(shown + [name for bit, name in OPEN_FLAGS if flags & bit == bit])


# ---- audit events -------------------------------------------------------------------------------------------------------


def heard_open(path, mode, flags):
    if mode is None:
        return  # os.open, which is wrapped
    path = text_of(path)
    if path is None or path is Stream.path:
        return
    line = put("openat(AT_FDCWD, %s, %s)" % (located(path), open_flags(flags | O_CLOEXEC)), "?")
    frame = get_frame(2)
    Stream.waiting[gettid()] = (line, id(frame), frame.f_lasti)


def heard_dlopen(name):
    name = text_of(name) if name else None
    if name and "/" in name:
        put("openat(AT_FDCWD, %s, O_RDONLY|O_CLOEXEC)" % located(name), "?")


def changed(syscall, rest=""):
    def heard_change(path, *more):
        shown = text_of(path)
        if shown is not None:
            put("%s(%s%s)" % (syscall, located(shown, more[-1] if more and isinstance(more[-1], int) else None), rest), "?")

    return heard_change


def renamed(syscall):
    def heard_rename(old, new, old_fd, new_fd):
        put("%s(%s, %s)" % (syscall, located(text_of(old), old_fd), located(text_of(new), new_fd)), "?")

    return heard_rename


def heard_symlink(target, path, dir_fd):
    put("symlink(%s, %s)" % (quoted(text_of(target)), located(text_of(path), dir_fd)), "?")


def heard_truncate(path, length):
    if text_of(path) is not None:
        put("truncate(%s, %d)" % (located(text_of(path)), length), "?")


def heard_xattr(syscall):
    def heard_one(path, *more):
        if text_of(path) is not None:
            put("%s(%s)" % (syscall, located(text_of(path))), "?")

    return heard_one


def heard_end(*args):
    flush()  # the process may be replaced or killed by what follows


HEARD = {
    "open": heard_open,
    "ctypes.dlopen": heard_dlopen,
    "os.mkdir": changed("mkdir"),
    "os.rmdir": changed("rmdir"),
    "os.remove": changed("unlink"),
    "os.chmod": changed("chmod"),
    "os.chown": changed("chown"),
    "os.utime": changed("utimensat"),
    "os.chdir": changed("chdir"),
    "os.rename": renamed("rename"),
    "os.link": renamed("link"),
    "os.symlink": heard_symlink,
    "os.truncate": heard_truncate,
    "os.setxattr": heard_xattr("setxattr"),
    "os.removexattr": heard_xattr("removexattr"),
    "os.getxattr": heard_xattr("getxattr"),
    "os.listxattr": heard_xattr("listxattr"),
    "os.exec": heard_end,
    "os.posix_spawn": heard_end,
    "subprocess.Popen": heard_end,
    "os.system": heard_end,
    "os.kill": heard_end,
}
find_heard = HEARD.get


def heard(event, args):
    # by name first: some programs raise tens of thousands of events that say nothing here
    action = find_heard(event)
    if action is not None:
        try:
            action(*args)
        except Exception:
            pass


def before_fork():
    flush()
    Stream.forking = (gettid(), now())


class Proxy:
    # stands for a module in importlib's name space only: some names are ours, the rest is the module's
    def __init__(self, module, **ours):
        self.__dict__.update(ours)
        self.__module = module

    def __getattr__(self, name):
        return getattr(self.__module, name)


def watch(sys, posix):
    put('faccessat2(-1, "fsprobe!audit %s", F_OK)' % ("events" if audited else "functions"), "-1 EBADF")
    os_module = sys.modules.get("os")
    recorders = {
        "stat": record_stat,
        "lstat": record_lstat,
        "access": record_access,
        "readlink": record_readlink,
        "listdir": record_listing,
        "scandir": record_listing,
        "open": record_open,
    }
    for name in recorders:
        original_function = getattr(posix, name)
        ours = wrap(original_function, recorders[name])
        setattr(posix, name, ours)
        if getattr(os_module, name, None) is original_function:
            setattr(os_module, name, ours)
    leave = posix._exit
    posix._exit = wrap_exit(leave)
    if getattr(os_module, "_exit", None) is leave:
        os_module._exit = posix._exit
    imp = sys.modules["_imp"]
    if hasattr(imp, "create_dynamic"):
        imp.create_dynamic = wrap(imp.create_dynamic, record_extension)
    external = sys.modules["_frozen_importlib_external"]
    io = external._io
    ours = {"FileIO": wrap_type(io.FileIO)}
    if hasattr(io, "open_code"):
        ours["open_code"] = wrap(io.open_code, record_loaded)
    external._io = Proxy(io, **ours)
    if hasattr(posix, "register_at_fork"):
        posix.register_at_fork(before=before_fork)
    if audited:
        sys.addaudithook(heard)
    at_exit(flush)


def wrap_type(file_type):
    def FileIO(*args, **kwargs):
        failure = None
        try:
            return file_type(*args, **kwargs)
        except OSError as error:
            failure = error
            raise
        finally:
            try:
                record_loaded(args, kwargs, None, failure)
            except Exception:
                pass
            failure = None

    return FileIO


def wrap_exit(leave):
    def record(args, kwargs, result, failure):
        pass

    class Leaving:
        __slots__ = ("__weakref__",)
        __module__ = leave.__module__
        __doc__ = leave.__doc__
        __class__ = property(lambda self: type(leave))

        def __call__(self, *args, **kwargs):
            flush()
            return leave(*args, **kwargs)

        def __getattr__(self, name):
            return getattr(leave, name)

        def __repr__(self):
            return repr(leave)

        def __reduce__(self):
            return leave.__name__

    return Leaving()


def prepare(sys, posix):
    # names that the functions above use; from what is built into the interpreter, and sys.modules stays as it was
    before = set(sys.modules)
    import _functools
    import _operator
    import atexit
    import errno

    if sys.version_info < (3, 10):
        before.add("atexit")  # what is registered lives in that very module: a second one would take its place
    for name in set(sys.modules) - before:
        del sys.modules[name]
    generator = nothing()
    for _ in generator:
        pass
    flag_names = (
        "O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK O_DSYNC O_DIRECTORY O_NOFOLLOW O_CLOEXEC O_PATH O_NOATIME"
    ).split()
    globals().update(
        at_exit=atexit.register,
        partial=_functools.partial,
        methodcaller=_operator.methodcaller,
        error_names=dict(errno.errorcode),
        exhausted=generator,
        new_object=object.__new__,
        encoding=sys.getfilesystemencoding(),
        executable=sys.executable or "",
        audited=hasattr(sys, "addaudithook"),
        get_frame=sys._getframe,
        fspath=posix.fspath,
        getcwd=posix.getcwd,
        getppid=posix.getppid,
        readlink=posix.readlink,
        read=posix.read,
        read_flags=posix.O_RDONLY | posix.O_CLOEXEC,
        O_CLOEXEC=posix.O_CLOEXEC,
        OPEN_FLAGS=[(getattr(posix, name), name) for name in flag_names if getattr(posix, name, 0)],
        KINDS={1: "S_IFIFO", 2: "S_IFCHR", 4: "S_IFDIR", 6: "S_IFBLK", 8: "S_IFREG", 10: "S_IFLNK", 12: "S_IFSOCK"},
    )
