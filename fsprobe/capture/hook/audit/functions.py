# The audit backend inside a target, second part (see watch.py): functions of posix and importlib, wrapped.


NO_DIRECTORY = "1073741824"  # a descriptor that no program has: what it is was not seen


def nothing():
    return
    yield


def wrap(function, record):
    # A wrapper of a built-in function that adds no frame to a traceback. What is called is a class: its __new__ calls
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
            except BaseException as error:
                if not is_own(error):
                    raise
            return result
        try:
            if isinstance(failure, OSError):  # else it never came to a call, and to ask for its path again may do anything
                record(args, kwargs, None, failure)
        except BaseException as error:
            if not is_own(error):
                raise
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
        __call__ = chosen(Call, function)
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
        shown = quoted(Stream.directories.get(path, "")) if path in Stream.directories else None
    else:
        shown = located("." if path is None else text_of(path))
        put("openat(AT_FDCWD, %s, O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_DIRECTORY)" % shown, value)
    if failure is None:
        # libc reads until the kernel says that there is no more: two calls at least
        n_entries = len(result) if isinstance(result, list) else 1
        shown = "3<%s>" % shown[1:-1] if shown is not None else NO_DIRECTORY
        put("getdents64(%s, 0x0 /* %d entries */, 32768)" % (shown, n_entries), "24")
        put("getdents64(%s, 0x0 /* 0 entries */, 32768)" % shown, "0")


def record_open(args, kwargs, result, failure):
    value = outcome(failure, str(result))
    path = text_of(args[0] if args else kwargs["path"])
    forget_opener(get_ident(), path)
    if value is not None:
        if failure is None and kwargs.get("dir_fd") is None:
            seen_directory(result, path)
        flags = args[1] if len(args) > 1 else kwargs["flags"]
        put("openat(AT_FDCWD, %s, %s)" % (located(path, kwargs.get("dir_fd")), open_flags(flags)), value)


def forget_opener(ident, path):
    # open(..., opener=f) tells of an open that f makes: when we are inside that very call, only f's counts
    waiting = Stream.waiting.pop(ident, None)
    if waiting is None:
        return
    if len(waiting) == 2 or Stream.is_heard:
        if waiting[1] == path:
            waiting[0][:] = []
        return
    line, place, at = waiting
    frame = get_frame(3)
    for _ in range(8):
        if frame is None:
            return
        if identity(frame) == place and frame.f_lasti == at:
            line[:] = []
            return
        frame = frame.f_back


def record_loaded(args, kwargs, result, failure):
    # what importlib opens: where events are, the event has begun the line and only its result is missing
    path = text_of(args[0] if args else kwargs["path"] if "path" in kwargs else kwargs["file"])
    value = outcome(failure, "3")
    waiting = Stream.waiting.pop(get_ident(), None)
    if path is None or value is None:
        return
    if waiting is not None:
        waiting[0][1] = value
    elif not audited:
        put("openat(AT_FDCWD, %s, O_RDONLY|O_CLOEXEC)" % located(path), value)


def record_extension(args, kwargs, result, failure):
    put("openat(AT_FDCWD, %s, O_RDONLY|O_CLOEXEC)" % located(text_of(args[0].origin)), "3")


def record_chdir(args, kwargs, result, failure):
    path = args[0] if args else kwargs.get("path", kwargs.get("fd"))
    if failure is None:
        known = Stream.directories.get(path) if isinstance(path, int) else text_of(path)
        if known is not None and known[:1] != "/":
            known = Stream.cwd.rstrip("/") + "/" + known if Stream.cwd is not None else None
        Stream.cwd = known


def open_flags(flags):
    shown = [("O_RDONLY", "O_WRONLY", "O_RDWR", "O_RDWR")[flags & 3]]
    return "|".join(shown + [name for bit, name in OPEN_FLAGS if flags & bit == bit])
