/* Calls that name no file but say what becomes of one that is open (read, mmap, fstat, close, dup), who runs (clone, exit) and
 * whether a sandbox begins. Reads are summed in the slot of the open itself: ten million of them take no room.
 *
 * Invariant: a descriptor's entry is cleared before it is closed, so another thread's new file never meets an old entry.
 * Invariant: a vfork's child has descriptors of its own in its parent's memory: it changes no entry.
 * Invariant: before prctl(PR_SET_SECCOMP) or seccomp() is made, all threads are told to make no call of ours any more. A thread that is
 * in the midst of noting a call when another one puts it into a sandbox (TSYNC) still makes those of this one call. */
#include "calls.h"
#include "sites.h"

static u32 *entry_of(u64 fd) { return (u32)fd < N_DESCRIPTORS ? me.slot_of + (u32)fd : 0; }

/* The slot that a descriptor's sums go to: that of its open, else the process's own. 0: neither is there any more. */
static struct slot *sums_of(u64 fd) {
    u32 *entry = entry_of(fd), at = entry ? __atomic_load_n(entry, __ATOMIC_RELAXED) : 0;
    u64 drained = __atomic_load_n(&me.header->drained, __ATOMIC_RELAXED);
    if (!at || at - 1 < drained) {
        if (!me.own->home) thread_seen();
        at = me.own->home;
    }
    return at && at - 1 >= drained && at <= me.max ? slot_at(at - 1) : 0;
}

/* An open has returned. */
void opened(u32 thread, i64 fd, u64 slot) {
    u32 *entry = entry_of((u64)fd);
    slot_at(slot)->arg[3] = 0;
    if (entry && !(thread & VFORKED)) __atomic_store_n(entry, (u32)slot + 1, __ATOMIC_RELAXED);
}

void fstat_seen(i32 fd, i64 status, int is_statx) {
    u32 *entry = fd >= 0 ? entry_of((u64)fd) : 0;
    struct slot *slot = entry && *entry ? sums_of((u64)fd) : 0;
    if (!slot) return;
    slot->mode = *(u16 *)(status + (is_statx ? 28 : 24));
    slot->size = *(u64 *)(status + (is_statx ? 40 : 48));
    __atomic_fetch_add(&slot->n_fstats, 1, __ATOMIC_RELAXED);
}

static u32 since_open(const struct slot *slot, u64 t_ns) {
    u64 units = t_ns > slot->t_ns ? (t_ns - slot->t_ns) >> SPAN_SHIFT : 0;
    return units < ~0u - 1 ? (u32)units + 1 : ~0u;
}

/* Between which moments a file was read. Sums of those who read at once are more than passed, which only this tells. */
static void note_span(struct slot *slot, u64 begun_ns, u64 ended_ns) {
    if (slot->kind != CALL) return;
    u32 *first = (u32 *)&slot->arg[3], *last = first + 1, none = 0;
    if (!__atomic_load_n(first, __ATOMIC_RELAXED))
        __atomic_compare_exchange_n(first, &none, since_open(slot, begun_ns), 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    __atomic_store_n(last, since_open(slot, ended_ns), __ATOMIC_RELAXED);
}

/* A read of `fd`. What is copied to something that was not seen opened (a socket, a pipe) waits for that too: its time is left out. */
static int read_seen(const struct registers *regs, i64 *result, u64 fd, int is_timed) {
    u64 begun_ns = now_ns();
    i64 got = *result = call_through(regs);
    u64 ended_ns = now_ns();
    struct slot *slot = sums_of(fd);
    if (slot) {
        __atomic_fetch_add(&slot->n_reads, 1, __ATOMIC_RELAXED);
        if (!FAILED(got)) __atomic_fetch_add(&slot->read_bytes, (u64)got, __ATOMIC_RELAXED);
        if (is_timed) {
            __atomic_fetch_add(&slot->read_ns, ended_ns - begun_ns, __ATOMIC_RELAXED);
            note_span(slot, begun_ns, ended_ns);
        }
    }
    return 1;
}

static int copy_seen(const struct registers *regs, i64 *result, u64 from, u64 to) {
    u32 *entry = entry_of(to);
    return read_seen(regs, result, from, entry && *entry);
}

static int map_seen(struct registers *regs, i64 *result) {
    const u64 *a = regs->arg;
    i32 fd = (i32)a[4];
    if (fd < 0 || a[3] & MAP_ANONYMOUS) return 0;
    u64 begun_ns = now_ns();
    i64 got = *result = call_through(regs);
    u64 took_ns = now_ns() - begun_ns;
    if (FAILED(got)) return 1;
    if (a[2] & PROT_EXEC && a[3] & MAP_PRIVATE && sites_are_loaders(regs->tail)) sites_mapped(fd, (u64)got, a[1], a[5]);
    struct slot *slot = sums_of((u64)fd);
    if (slot) {
        __atomic_fetch_add(&slot->n_maps, 1, __ATOMIC_RELAXED);
        __atomic_fetch_add(&slot->map_bytes, a[1], __ATOMIC_RELAXED);
        __atomic_fetch_add(&slot->map_ns, took_ns, __ATOMIC_RELAXED);
    }
    return 1;
}

/* Asked only where a vfork has been seen: a call of gettid is a twentieth of what an open costs here. */
static int is_vforked(void) { return me.has_vforked && thread_seen() & VFORKED; }

static int close_seen(u64 fd) {
    u32 *entry = entry_of(fd);
    if (entry && *entry && !is_vforked()) __atomic_store_n(entry, 0, __ATOMIC_RELAXED);
    return 0;
}

static int close_range_seen(const u64 *a) {
    if (a[2] & CLOSE_RANGE_CLOEXEC || (u32)a[0] > (u32)a[1] || is_vforked()) return 0;
    for (u64 fd = (u32)a[0]; fd <= (u32)a[1] && fd < N_DESCRIPTORS; fd++)
        if (me.slot_of[fd]) __atomic_store_n(me.slot_of + fd, 0, __ATOMIC_RELAXED);
    return 0;
}

/* A second descriptor of an open file: what is read through it counts there too. */
static int dup_seen(struct registers *regs, i64 *result) {
    u32 *from = entry_of(regs->arg[0]);
    i64 got = *result = call_through(regs);
    u32 *to = FAILED(got) ? 0 : entry_of((u64)got);
    if (to && (*to || (from && *from)) && to != from && !is_vforked())
        __atomic_store_n(to, from ? *from : 0, __ATOMIC_RELAXED);
    return 1;
}

/* Notes who is about to make a thread or process. The child notes its thread pointer (a thread, whose clone names it) or finds
 * `cloner` in its copy of this memory. The call itself is the program's: the child may have another stack. */
static int clone_seen(struct registers *regs) {
    u64 nr = regs->nr, flags = regs->arg[0], pointer = regs->arg[4], at;
    u32 tid = TID(thread_seen());
    if (nr == NR_clone3) {
        u64 page = 0;
        if (me.is_quiet || !is_readable((const void *)regs->arg[0], &page) || !is_readable((const char *)regs->arg[0] + 63, &page)) flags = pointer = 0;
        else {
            flags = ((const u64 *)regs->arg[0])[0];
            pointer = ((const u64 *)regs->arg[0])[7];
        }
    } else if (nr != NR_clone) flags = pointer = 0;
    if (nr == NR_vfork || flags & CLONE_VFORK || !flags) me.has_vforked = 1;
    struct slot *slot = ring_take(1, &at);
    if (!slot) {
        me.cloner = 0;
        return 0;
    }
    call_begin(slot, nr, tid, now_ns(), flags, pointer, 0, 0);
    slot_done(slot);
    me.cloner = at + 1;
    return 0;
}

static int exit_seen(void) {
    u64 at;
    u32 tid = TID(thread_seen());
    if (!me.is_quiet) thread_forget(tid);
    struct slot *slot = ring_take(1, &at);
    if (!slot) return 0;
    call_begin(slot, NR_exit, tid, now_ns(), 0, 0, 0, 0);
    slot_done(slot);
    return 0;
}

/* A parent hears how a child has ended: the child can't say so itself when it is killed, not seen, or could not be started (the
 * loader then ends with 127). */
static int wait_seen(struct registers *regs, i64 *result) {
    const u64 *a = regs->arg;
    i64 got = *result = call_through(regs);
    u32 pid = (u32)got, status = 0x7f;
    u64 at;
    if (FAILED(got)) return 1;
    if (regs->nr == NR_wait4 && got > 0 && a[1]) status = *(const u32 *)a[1];
    else if (regs->nr == NR_waitid && a[2]) { /* siginfo: code, pid, status */
        u32 code = ((const u32 *)a[2])[2], value = ((const u32 *)a[2])[6];
        pid = ((const u32 *)a[2])[4];
        status = code == 1 ? value << 8 : code == 2 || code == 3 ? value : 0x7f;
    }
    if ((status & 0xff) == 0x7f || (status & 0xffff) == 0xffff) return 1; /* stopped or continued */
    u32 tid = TID(thread_seen());
    struct slot *slot = ring_take(1, &at);
    if (!slot) return 1;
    call_begin(slot, regs->nr, tid, now_ns(), pid, status, 0, 0);
    slot_done(slot);
    return 1;
}

/* A sandbox begins before its call does (with TSYNC for all threads); if it fails, it has not begun. */
static int sandbox_seen(struct registers *regs, i64 *result) {
    const u64 *a = regs->arg;
    if (regs->nr == NR_prctl && a[0] == PR_SET_TSC) {
        me.has_no_tsc = a[1] != 1;
        if (me.has_no_tsc) me.gettime = 0;
        return 0;
    }
    if (regs->nr == NR_prctl ? a[0] != PR_SET_SECCOMP : (a[0] != SECCOMP_SET_MODE_STRICT && a[0] != SECCOMP_SET_MODE_FILTER)) return 0;
    if (me.is_quiet) return 0;
    int had_no_tsc = me.has_no_tsc;
    thread_seen(); /* the last one that may have been a vfork's child, in this memory and gone */
    clock_quiet();
    /* the strict mode takes the processor's counter away too: time stands still then */
    if (regs->nr == NR_prctl ? a[1] == SECCOMP_MODE_STRICT : a[0] == SECCOMP_SET_MODE_STRICT) me.has_no_tsc = 1;
    __atomic_store_n(&me.is_quiet, 1, __ATOMIC_SEQ_CST);
    i64 got = *result = call_through(regs);
    if (FAILED(got)) {
        me.has_no_tsc = had_no_tsc;
        __atomic_store_n(&me.is_quiet, 0, __ATOMIC_SEQ_CST);
    }
    return 1;
}

/* A program limits its own addresses, of which we hold some GiB for what the ring may grow to: it gets them back before its limit
 * counts. Slots that it would need beyond are lost, and known to be. */
static int addresses_seen(const struct registers *regs) {
    const u64 *a = regs->arg, *limit = (const u64 *)a[regs->nr == NR_setrlimit ? 1 : 2];
    u64 page = 0;
    int is_own = regs->nr == NR_setrlimit || !(i32)a[0] || (u32)a[0] == me.own->pid;
    if (!is_own || (u32)a[regs->nr == NR_setrlimit ? 0 : 1] != RLIMIT_AS || me.is_quiet || is_vforked()) return 0;
    if (!is_readable(limit, &page) || !is_readable((const char *)limit + sizeof *limit - 1, &page) || *limit == ~0ull) return 0;
    ring_shrink(*limit);
    return 0;
}

int call_followed(struct registers *regs, i64 *result) {
    switch (regs->nr) {
    case NR_read: case NR_pread64: case NR_readv: case NR_preadv: case NR_preadv2: return read_seen(regs, result, regs->arg[0], 1);
    case NR_sendfile: return copy_seen(regs, result, regs->arg[1], regs->arg[0]);
    case NR_copy_file_range: case NR_splice: return copy_seen(regs, result, regs->arg[0], regs->arg[2]);
    case NR_mmap: return map_seen(regs, result);
    case NR_fstat: {
        u32 *entry = entry_of(regs->arg[0]);
        if (!entry || !*entry) return 0;
        i64 got = *result = call_through(regs);
        if (!got) fstat_seen((i32)regs->arg[0], (i64)regs->arg[1], 0);
        return 1;
    }
    case NR_close: return close_seen(regs->arg[0]);
    case NR_close_range: return close_range_seen(regs->arg);
    case NR_dup: case NR_dup2: case NR_dup3: return dup_seen(regs, result);
    case NR_fcntl: return (i32)regs->arg[1] == F_DUPFD || (i32)regs->arg[1] == F_DUPFD_CLOEXEC ? dup_seen(regs, result) : 0;
    case NR_clone: case NR_fork: case NR_vfork: case NR_clone3: return clone_seen(regs);
    case NR_exit: return exit_seen();
    case NR_wait4: case NR_waitid: return wait_seen(regs, result);
    case NR_setrlimit: case NR_prlimit64: return addresses_seen(regs);
    case NR_landlock_restrict_self:
        me.is_landlocked = 1;
        return 0;
    default: return sandbox_seen(regs, result);
    }
}
