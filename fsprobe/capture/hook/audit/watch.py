# The audit backend inside a target: notes each call that names a path where the interpreter makes it, in strace's own words.
#
# Not modules: sitecustomize.py executes audit_stream.py, audit_functions.py, audit_events.py and this as one text, in the name
# space of its functions (State, now, store, ...) and under importlib's file name. Three sources: audit events (open, mkdir, ... ;
# CPython 3.8+), wrapped functions of posix (stat, lstat, access, readlink, listdir, scandir, open), and what importlib opens and
# loads. The lines go to memory that is shared with a file in node-local storage (see ../room.py): a working directory and the
# directories that descriptors stand for are followed, not asked for. `fsprobe.capture.backends.audit.notes` makes one log of all.


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
        "chdir": record_chdir,
        "fchdir": record_chdir,
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
    if audited:
        sys.addaudithook(heard)
        unheard[ADDED] = None  # that was ours
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
            except BaseException as error:
                if not is_own(error):
                    raise
            finally:
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
    if sys.version_info < (3, 10):
        import atexit  # what is registered lives in that very module: a second one would take its place
    else:
        atexit = borrow(sys, "atexit")
    errno = borrow(sys, "errno")
    generator = nothing()
    for _ in generator:
        pass
    flag_names = (
        "O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK O_DSYNC O_DIRECTORY O_NOFOLLOW O_CLOEXEC O_PATH O_NOATIME"
    ).split()
    globals().update(
        at_exit=atexit.register,
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
        getpid=posix.getpid,
        posix_module=posix,
        sees_forks=hasattr(posix, "register_at_fork"),
        read=posix.read,
        read_flags=posix.O_RDONLY | posix.O_CLOEXEC,
        O_CLOEXEC=posix.O_CLOEXEC,
        OPEN_FLAGS=[(getattr(posix, name), name) for name in flag_names if getattr(posix, name, 0)],
        KINDS={1: "S_IFIFO", 2: "S_IFCHR", 4: "S_IFDIR", 6: "S_IFBLK", 8: "S_IFREG", 10: "S_IFLNK", 12: "S_IFSOCK"},
    )
