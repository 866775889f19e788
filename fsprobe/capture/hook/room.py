# Where the hook notes what it sees: memory that is shared with a file and mapped once, at its start. To write there asks nothing of
# the kernel, so a program that confines itself later (seccomp, RLIMIT_FSIZE, another user, no descriptors) never meets it.
#
# No module: sitecustomize.py executes this text in the name space of its functions. CPython 3.8 and later.
#
# The file (`fsprobe.capture.directories.room` reads it, and allocates more of it as it fills): a header, a part for the process
# that made it, and one for each process that is forked off, by number. The header says up to where each part is allocated:
# beyond that, memory that has no room on its filesystem would end the program with SIGBUS. What has no room is kept, and written
# when there is; how much was never written, the header says.

HEADER = 4096
TABLE = 64
ENTRY = 24  # limit, used, lost: 8 bytes each
CELL = 32
N_CHILDREN = 78
N_LEADING = 7  # so many of the children may have as many of their own
FIRST = 1, 2, 3, 4, 79  # children that have room from the start; the last is the first one's first
MAX_KEPT = 1 << 22
STOP = 40
WATCHED = 48


class Room:
    memory = None
    number = None  # 0: who made the file; None: there is none for this process
    base = 0
    at = 0
    cells = None
    ident = 0
    tid = 0
    kept = []
    n_kept_bytes = 0
    n_lost = 0
    told = 0
    fork = [None]


Room.ident, Room.tid = get_ident(), gettid()


def take_room(sys, posix, kind, first, own_bytes, child_first, child_bytes):
    # False: no room, for whatever reason; then nothing is noted
    signals = sys.modules.get("_signal")
    if signals is None or signals.getsignal(signals.SIGXFSZ) != signals.SIG_IGN:
        return False  # a small limit of file sizes would end the program, where Python has not seen to it (an embedded one)
    module = find_mmap(sys)
    opened, memory = [], None
    try:
        open_into(opened, marks + "/" + kind + "." + State.token, posix.O_RDWR | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600)
        fd = opened[-1]
        posix.posix_fallocate(fd, 0, first)
        whole, limits = first, {0: first}
        try:
            posix.ftruncate(fd, own_bytes + child_bytes * (N_CHILDREN + N_LEADING * N_LEADING))
            whole = own_bytes + child_bytes * (N_CHILDREN + N_LEADING * N_LEADING)
            for number in FIRST:
                start = own_bytes + child_bytes * (number - 1)
                posix.posix_fallocate(fd, start, child_first)
                limits[number] = start + child_first
        except OSError:
            pass
        memory = map_file(sys, posix, module, fd, whole)
    except (OSError, ValueError, AttributeError, MemoryError):
        pass
    finally:
        for fd in opened:
            posix.close(fd)
    if memory is None:
        return False
    memory[8:16] = own_bytes.to_bytes(8, "little")
    memory[16:24] = child_bytes.to_bytes(8, "little")
    memory[24:32] = first.to_bytes(8, "little")
    for number, limit in limits.items():
        memory[TABLE + ENTRY * number : TABLE + ENTRY * number + 8] = limit.to_bytes(8, "little")
    memory[0:8] = b"fsproom1"
    Room.memory, Room.own_bytes, Room.child_bytes, Room.whole = memory, own_bytes, child_bytes, whole
    enter(0)
    # one step of C, as an exception that arrives in a handler of forks is lost: number, time and thread of this fork
    about = zip(count(1), iter(now, None), iter(get_ident, None))
    if hasattr(posix, "register_at_fork"):
        posix.register_at_fork(before=map(partial(Room.fork.__setitem__, 0), about).__next__, after_in_child=after_fork)
    return True


def find_mmap(sys):
    # Not by an import: that would look it up in the places of the target. And by a spelling that is not the target's own, so
    # that the loader opens the file once more when that imports it too, as it would without us.
    found = modules.get("mmap")
    if found is not None:
        return found
    had_codec = "encodings.ascii" in modules  # with -X dev the loader of extensions looks this codec up
    try:
        if "mmap" in sys.builtin_module_names:
            return borrow(sys, "mmap")
        imp = modules["_imp"]
        for entry in sys.path:
            if entry.endswith("/lib-dynload"):
                spec = Spec()
                spec.name, spec.origin = "mmap", entry + "/./mmap" + imp.extension_suffixes()[0]
                try:
                    found = imp.create_dynamic(spec)
                    imp.exec_dynamic(found)
                    return found
                except ImportError:
                    continue
    finally:
        modules.pop("mmap", None)
        if not had_codec:
            modules.pop("encodings.ascii", None)


class Spec:
    pass


def map_file(sys, posix, module, fd, whole):
    if sys.version_info >= (3, 13):
        return module.mmap(fd, whole, trackfd=False)
    # An older one makes itself a copy of the descriptor, and closes that number when it ends. It must not be the target's by then:
    # so the copy is closed now, and the object never ends, by a circle that the collector doesn't see.
    memory = module.mmap(fd, whole)
    made = posix.fstat(fd)
    for other in [*range(fd + 1, fd + 1024), *range(fd)]:
        try:
            found = posix.fstat(other)
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (made.st_dev, made.st_ino):
            holder = Endless()
            holder.memory, holder.circle = memory, parse_format(holder)
            posix.close(other)
            return memory
    memory.close()
    return None


class Endless(str):
    pass


def enter(number):
    Room.number = number
    Room.kept, Room.n_kept_bytes, Room.n_lost, Room.told = [], 0, 0, 0
    if number is not None:
        Room.at = Room.own_bytes + Room.child_bytes * (number - 1) if number else HEADER
        Room.cells = count(Room.at // CELL)
        Room.entry = TABLE + ENTRY * number
        if Room.at >= Room.whole:
            Room.number = None


def after_fork():
    # in the child: number and part are known without a word to the kernel, the process's own number is not
    number, when, ident = Room.fork[0]
    parent, index = Room.number, number - Room.base
    by = thread_id(ident)
    Room.base, Room.ident, Room.tid = number, get_ident(), 0
    if parent == 0:
        number = index if index <= N_CHILDREN else None
    elif parent is not None and parent <= N_LEADING and index <= N_LEADING:
        number = N_CHILDREN + N_LEADING * (parent - 1) + index
    else:
        number = None
    enter(number)
    forked(parent, when, by)


def forked(parent, when, by):
    # goes on with the imports of the thread that forked
    State.early = {Room.ident: State.early.get(Room.ident, [])}
    store(("+%d %d %s\n" % (parent or 0, when, by)).encode())


def thread_id(ident):
    # as the interpreter knows it: 0 is the first thread of a process that was forked off
    if ident == Room.ident:
        return Room.tid
    active = getattr(modules.get("threading"), "_active", None)
    thread = active.get(ident) if type(active) is dict else None
    tid = get_attribute(thread, "__dict__").get("_native_id") if thread is not None else None
    return tid if type(tid) is int else "?"


def store(data):
    kept = Room.kept
    if Room.memory[STOP]:
        return
    while kept and put_in(kept[0]):
        Room.n_kept_bytes -= len(kept[0])
        del kept[:1]
    if kept or not put_in(data):
        if Room.number is None or Room.n_kept_bytes > MAX_KEPT:
            Room.n_lost += data.count(b"\n")
        else:
            kept.append(data)
            Room.n_kept_bytes += len(data)
        tell_lost(data)
    elif Room.told:
        tell_lost(b"")


def tell_lost(data):
    memory = Room.memory
    if Room.number is None:
        n_lost = int.from_bytes(memory[32:40], "little") + data.count(b"\n")  # one number for all that have no part
        memory[32:40] = n_lost.to_bytes(8, "little")
    else:
        Room.told = n_lost = Room.n_lost + b"".join(Room.kept).count(b"\n")
        memory[Room.entry + 16 : Room.entry + 24] = n_lost.to_bytes(8, "little")


def put_in(data):
    # cells are claimed in one step of C, so no two threads, nor a thread and a signal's handler in it, have the same
    if Room.number is None:
        return False
    memory, entry, n_bytes = Room.memory, Room.entry, len(data)
    limit = int.from_bytes(memory[entry : entry + 8], "little")
    if Room.at + n_bytes > limit:
        return False
    at = list(islice(Room.cells, (n_bytes + CELL - 1) // CELL))[0] * CELL
    if at + n_bytes > limit:
        return False
    try:
        memory[at : at + n_bytes] = data
        Room.at = at + n_bytes
        memory[entry + 8 : entry + 16] = Room.at.to_bytes(8, "little")
    except BaseException:  # whoever calls has it still
        memory[at : at + n_bytes] = bytes(n_bytes)
        raise
    return True
