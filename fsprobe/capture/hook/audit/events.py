# The audit backend inside a target, third part (see watch.py): the interpreter's audit events.


def heard_open(path, mode, flags):
    if mode is None:
        return  # os.open, which is wrapped
    path = text_of(path)
    if path is None:
        return
    line = put("openat(AT_FDCWD, %s, %s)" % (located(path), open_flags(flags | O_CLOEXEC)), "?")
    # to ask for a frame, or for an id(), is an event itself, which the target's own hook would hear: then the path has to do
    frame = None if Stream.is_heard else get_frame(2)
    Stream.waiting[get_ident()] = (line, path) if frame is None else (line, identity(frame), frame.f_lasti)


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


def heard_hook():
    Stream.is_heard = True  # by a hook of the target's


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
    "sys.addaudithook": heard_hook,
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
        except BaseException as error:
            if not is_own(error):
                raise
