# The audit backend inside a target, first part (see watch.py): lines of calls as strace writes them, kept and written.

NOTED_LINES = 2000  # this many lines or this much time, then they are written: what is not is lost when the process is killed
NOTED_NS = 100000000
IMPORTED_NS = 10000000  # an import that has ended is written sooner: what follows may never call again
KEPT_BYTES = 1 << 25  # more than this is not kept when it can't be written


class Stream:
    path = ""
    known = set()
    lines = []
    waiting = {}
    flushed = 0
    stopped = False


def start_stream(word):
    # a new program image, or a process that was forked off: what its parent had not yet written stays the parent's
    forked_by, forked_at = (Stream.forking if word == "fork" else None) or (0, 0)
    Stream.path = "%s/calls.%s" % (marks, State.token)
    Stream.known = {gettid()}
    Stream.lines = []
    Stream.waiting = {}
    Stream.flushed = now()
    Stream.stopped = False
    Stream.lines.append("!%s %d %d %d %d %d %d\n" % (word, State.pid, getppid(), gettid(), now(), forked_by, forked_at))
    if word == "begin":
        words = ", ".join([quoted(word) for word in arguments()[:32]])
        put("execve(%s, [%s], 0x0 /* not observed */)" % (quoted(executable), words), "0")


Stream.forking = None


def arguments():
    fd = os_open("/proc/self/cmdline", read_flags)
    try:
        return [word[:256].decode("utf-8", "surrogateescape") for word in read(fd, 1 << 16).split(b"\0")[:-1]]
    finally:
        close(fd)


def note(word, rest=""):
    if word in ("begin", "fork"):
        start_stream(word)
    put('faccessat2(-1, "fsprobe!%s %s %d %d%s", F_OK)' % (word, State.token, gettid(), now(), rest), "-1 EBADF")


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
    if Stream.stopped:
        return line
    lines.append(line)
    if len(lines) >= NOTED_LINES or when - Stream.flushed > NOTED_NS:
        flush()
    return line


def flush():
    if Stream.stopped:
        return
    Stream.flushed = now()
    lines = Stream.lines
    n_written, n_bytes, failure = write_out(Stream.path, lines, encoding)
    if failure is None:
        return
    try:
        if not is_own(failure):
            raise failure
        # 2: fsprobe has taken the place away, since there is enough; else later, for the target may lack descriptors now
        if n_written or getattr(failure, "errno", None) == 2 or n_bytes > KEPT_BYTES:
            Stream.stopped = True
            del lines[:]
    finally:
        failure = None


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
    except OSError as error:
        if not is_own(error):
            raise
        return quoted(path)
    return quoted(base.rstrip("/") + "/" + path if path else "")


def outcome(failure, result):
    # None: it never came to a call (a wrong argument)
    if failure is None:
        return result
    number = getattr(failure, "errno", None)
    return "-1 %s" % error_names.get(number, "E%s" % number) if isinstance(failure, OSError) and number else None
