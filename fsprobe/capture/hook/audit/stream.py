# The audit backend inside a target, first part (see watch.py): lines of calls as strace writes them, kept and written.

NOTED_LINES = 2000  # this many lines or this much time, then they are written: what is not is lost when the process is killed
NOTED_NS = 100000000
IMPORTED_NS = 10000000  # an import that has ended is written sooner: what follows may never call again
MAX_DIRECTORIES = 4096
SIZES = "noted", 1 << 20, 1 << 30, 1 << 15, 1 << 24  # see room.py; addresses alone, until something is written there


class Stream:
    known = set()
    unknown = {}
    lines = []
    waiting = {}
    flushed = 0
    cwd = None
    directories = {}
    is_heard = False


def start_stream(words):
    # a new program image, or a process that was forked off: what its parent had not yet written stays the parent's
    Stream.known = {Room.tid}
    Stream.unknown = {}
    Stream.lines = []
    Stream.waiting = {}
    Stream.flushed = now()
    Stream.lines.append("!" + words)


def first_stream():
    State.pid = getpid()
    start_stream("begin %d %d %d %d 0 0\n" % (State.pid, getppid(), Room.tid, now()))
    try:
        Stream.cwd = getcwd()
    except OSError:
        pass
    words = ", ".join([quoted(word) for word in arguments()[:32]])
    put("execve(%s, [%s], 0x0 /* not observed */)" % (quoted(executable), words), "0")


def forked(parent, when, by):
    State.early = {Room.ident: State.early.get(Room.ident, [])}
    start_stream("fork 0 %d 0 %d %s %d\n" % (parent or 0, now(), by, when))


def arguments():
    try:
        fd = os_open("/proc/self/cmdline", read_flags)
    except OSError:
        return getattr(sys, "orig_argv", [executable])
    try:
        return [word[:256].decode("utf-8", "surrogateescape") for word in read(fd, 1 << 16).split(b"\0")[:-1]]
    finally:
        close(fd)


def sizes_here():
    # where addresses are limited, no more of them than are allocated
    try:
        fd = os_open("/proc/self/limits", read_flags)
    except OSError:
        return SIZES
    try:
        text = read(fd, 1 << 14)
    finally:
        close(fd)
    limited = [line for line in text.split(b"\n") if line[:17] == b"Max address space" and line.split()[3] != b"unlimited"]
    return (SIZES[0], SIZES[1], SIZES[1], 0, 0) if limited else SIZES


def note(word, rest=""):
    if word == "begin":
        first_stream()
    put('faccessat2(-1, "fsprobe!%s %s %s %d%s", F_OK)' % (word, State.token, stream_id(), now(), rest), "-1 EBADF")


def used(rest):
    note("lazy", rest)


def mark(kind, name):
    put("faccessat2(-1, %s, F_OK)" % quoted("fsprobe" + kind + name), "-1 EBADF")
    if kind == "<" and now() - Stream.flushed > IMPORTED_NS:
        flush()


def stream_id():
    # what the interpreter doesn't know gets a number of ours
    ident = get_ident()
    tid = thread_id(ident)
    return "?%d" % Stream.unknown.setdefault(ident, len(Stream.unknown)) if tid == "?" else tid


def put(call, result):
    # one line; gives back where its result can be put in later
    if not sees_forks and getpid() != State.pid:
        begin_again()
    tid = stream_id()
    when = now()
    lines = Stream.lines
    if tid not in Stream.known:
        Stream.known.add(tid)
        lines.append("%s %d *\n" % (tid, when))
    line = ["%s %d %s = " % (tid, when, call), result, "\n"]
    lines.append(line)
    if len(lines) >= NOTED_LINES or when - Stream.flushed > NOTED_NS:
        flush()
    return line


def begin_again():
    # CPython 3.6 tells nobody of a fork; there a new process asks who it is, and makes a file of its own
    parent = State.pid
    State.pid = getpid()
    State.token = "%d.%s" % (State.pid, urandom(6).hex())
    Room.tid, Room.ident = State.pid, get_ident()
    start_stream("fork %d %d %d %d 0 0\n" % (State.pid, parent, State.pid, now()))
    take_room(sys, posix_module, *sizes_here())


def flush():
    if Room.memory is None:
        return
    Stream.flushed = now()
    lines, taken = Stream.lines, []
    try:
        try:
            taken.extend(map(lines.pop, [0] * len(lines)))
        except IndexError as error:  # another thread takes them too
            if not is_own(error):
                raise
        if taken:
            store(encoded("".join(map("".join, taken))))
            del taken[:]
    finally:
        if taken:
            lines[:0] = taken


def encoded(text):
    try:
        return text.encode(encoding, "surrogateescape")
    except UnicodeError:
        return b"".join(map(encoded_letter, text))


def encoded_letter(letter):
    # one that no call can be given, but an audit event or the command line names it all the same
    try:
        return letter.encode(encoding, "surrogateescape")
    except UnicodeError:
        return letter.encode("utf-8", "surrogatepass")


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
    # absolute, as the tracers' logs show it: relative to the working directory or to that of a descriptor, as far as they were seen
    if path[:1] == "/":
        return quoted(path)
    base = Stream.directories.get(dir_fd) if dir_fd is not None and dir_fd >= 0 else Stream.cwd
    if base is None:
        return quoted(path)
    return quoted(base.rstrip("/") + "/" + path if path else "")


def seen_directory(fd, path):
    if path is not None:
        if path[:1] != "/" and Stream.cwd is not None:
            path = Stream.cwd.rstrip("/") + "/" + path
        if len(Stream.directories) > MAX_DIRECTORIES:
            Stream.directories.clear()
        Stream.directories[fd] = path


def outcome(failure, result):
    # None: it never came to a call (a wrong argument)
    if failure is None:
        return result
    number = getattr(failure, "errno", None)
    return "-1 %s" % error_names.get(number, "E%s" % number) if isinstance(failure, OSError) and number else None
