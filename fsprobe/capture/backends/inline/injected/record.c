/* One call that names a file: noted before it is made, made, and completed with what came of it.
 *
 * Invariant: memory of the program is read only after the kernel has read it, which success and some errors say (was_read);
 * else it is asked for first (is_readable), in a sandbox not read at all. So too what must be read before, of an exec (exec.c).
 * Invariant: in a sandbox (`is_quiet`) only the program's own call is made: no directory, no resolved path, no thread number.
 * Invariant: no libc, TLS, lock or allocation; some 1.4 KiB of stack. */
#include "calls.h"
#include "sites.h"

static const u8 *jump_target(const u8 *jump) { return jump + 5 + *(const i32 *)(jump + 1); }

/* Whether the processor keeps a second stack of return addresses: what did not call must not return. 0 where it has none. */
static u64 shadow_stack(void) {
    u64 pointer = 0;
    __asm__ volatile("rdsspq %0" : "+r"(pointer));
    return pointer;
}

/* Makes the call, at the object's gate where it has one (stubs.c). Where its own `syscall` instruction counts (glibc 2.41 looks
 * whether a cancelled thread's program counter stands there, and it is followed by `ret`), that one is the gate. */
i64 call_through(const struct registers *regs) {
    const u64 *a = regs->arg;
    const u8 *own = jump_target(regs->tail + 5), *behind = own + 2;
    if (own == regs->tail + 10) behind = jump_target(own + 8) - 6; /* BY_XOR: it stands in the stub */
    i32 gate = ((const i32 *)regs->tail)[-2], way_back = ((const i32 *)regs->tail)[-1];
    if (gate && !shadow_stack()) return fsp_through(regs, own[2] == 0xc3 ? own : regs->tail + gate, regs->tail + way_back, behind);
    if (own[2] != 0xc3) return syscall6((i64)regs->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
    i64 result;
    register u64 r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
    __asm__ volatile("call *%1"
                     : "=a"(result)
                     : "r"(own), "0"(regs->nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* Whether a name that ends in " (deleted)" is the kernel's remark; then it is cut off, as strace does. */
static unsigned without_remark(const char *link, char *path, unsigned n) {
    static const char remark[] = " (deleted)";
    u64 one[18], other[18]; /* struct stat: device and inode come first */
    if (n < 11 || !starts_with(path + n - 10, remark)) return n;
    path[n] = 0;
    if (!FAILED(syscall3(NR_stat, link, one, 0)) && !FAILED(syscall3(NR_stat, path, other, 0)) && one[0] == other[0] && one[1] == other[1]) return n;
    return n - 10;
}

/* The path of a descriptor, or with AT_FDCWD of the working directory; what does not fit goes into slots. */
unsigned path_of_descriptor(i32 fd, u32 tid, u64 owner, char **to) {
    char name[32];
    unsigned room = SMALL, n = 14;
    i32 digit = 1000000000;
    if (fd < 0 && fd != AT_FDCWD) return 0;
    copy(name, "/proc/self/fd/", 14);
    if (fd >= 0) {
        while (digit > 1 && fd < digit) digit /= 10;
        for (; digit; digit /= 10) name[n++] = (char)('0' + fd / digit % 10);
    }
    name[n] = 0;
    int is_cwd = fd == AT_FDCWD;
    for (;;) {
        i64 got = is_cwd ? syscall3(NR_getcwd, *to, room, 0) : syscall3(NR_readlink, name, *to, room);
        if (is_cwd && FAILED(got) && got != -ERANGE) { /* it is deleted: the link still says what it was */
            copy(name, "/proc/self/cwd", 15);
            is_cwd = 0;
            continue;
        }
        if (got == -ERANGE || (!is_cwd && got == (i64)room)) { /* it did not fit */
            u64 at;
            unsigned n_slots = room == SMALL ? 5 : 17; /* few are longer than a thousand bytes */
            struct long_text *more = room < 4096 ? ring_room(n_slots, tid, owner, &at) : 0;
            if (!more) return 0;
            *to = more->text;
            room = n_slots == 5 ? 5 * SLOT_BYTES - LONG_TEXT_AT : 4096;
            continue;
        }
        if (FAILED(got)) return 0;
        return is_cwd ? (unsigned)got - 1 : fd < 0 ? (unsigned)got : without_remark(name, *to, (unsigned)got);
    }
}

static int is_same(const char *a, const char *b, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        if (a[i] != b[i]) return 0;
    return 1;
}

/* Errors that a look-up of the path has found: it was read. EINVAL, EFAULT, EPERM ... may have come before that. */
static int was_read(i64 got) {
    return !FAILED(got) || got == -ENOENT || got == -EACCES || got == -EEXIST || got == -ENOTDIR || got == -EISDIR || got == -ELOOP;
}

static u32 n_entries(u64 buffer, i64 bytes) {
    u32 n = 0;
    for (i64 at = 0; at < bytes && *(u16 *)(buffer + (u64)at + 16); at += *(u16 *)(buffer + (u64)at + 16)) n++;
    return n;
}

/* What the kernel has written of a file's status. */
static void note_status(struct slot *slot, u64 status, int is_statx) {
    slot->mode = *(u16 *)(status + (is_statx ? 28 : 24));
    slot->size = *(u64 *)(status + (is_statx ? 40 : 48));
}

/* The stub calls this for each call that comes by. Returns 1 when the call has been made, its result in *result; 0 when the
 * program's own `syscall` is to be executed. */
__attribute__((used)) int fsp_call(struct registers *regs, i64 *result) {
    const u64 nr = regs->nr, *a = regs->arg;
    u16 shape = nr < N_CALLS ? shapes[nr] : 0;
    if (!shape) return 0;
    if (shape & FOLLOWED) return call_followed(regs, result);
    if ((nr == NR_faccessat2 || nr == NR_faccessat) && (u32)a[2] == MARK_MODE && mark_taken(regs, result)) return 1;
    if (nr == NR_execve || nr == NR_execveat) return call_exec(regs, result);

    char base_room[SMALL], base_2_room[SMALL], *base = base_room, *base_2 = base_2_room;
    unsigned n_base = 0, n_base_2 = 0, n_path = 0, n_second = 0;
    const char *path = PATH_OF(shape) ? (const char *)a[PATH_OF(shape) - 1] : 0;
    const char *second = SECOND_OF(shape) ? (const char *)a[SECOND_OF(shape) - 1] : 0;
    u32 thread = thread_seen(), tid = TID(thread);
    u64 at = 0, begun_ns;
    struct slot *slot = 0;

    /* A descriptor's own status is no look-up and gets no slot; whether it is one is known when the path has been read. */
    int may_be_fstat = (nr == NR_newfstatat && (u32)a[3] & AT_EMPTY_PATH) || (nr == NR_statx && (u32)a[2] & AT_EMPTY_PATH);
    i32 directory = DIRECTORY_OF(shape) ? (i32)a[DIRECTORY_OF(shape) - 1] : AT_FDCWD;
    int may_move = nr == NR_chdir || nr == NR_pivot_root || nr == NR_chroot || nr == NR_umount2 || nr == NR_rmdir || nr == NR_rename || nr == NR_renameat || nr == NR_renameat2 || nr == NR_unlinkat;
    if (may_move && !me.is_quiet) n_base = path_of_descriptor(directory, tid, NO_OWNER, &base); /* afterwards it may be another */
    if (!may_be_fstat) slot = ring_take(1, &at);
    begun_ns = now_ns();
    if (slot) {
        /* of an end: whether it is the loader's, which then could not start the program */
        call_begin(slot, nr, tid, begun_ns, a[0], nr == NR_exit_group ? (u64)sites_are_loaders(regs->tail) : a[1], a[2], a[3]);
        if (nr == NR_exit_group) slot_done(slot);
    }
    if (nr == NR_exit_group) {
        if (thread & VFORKED) thread_forget(tid);
        return 0;
    }
    if (slot && (nr == NR_fchownat || nr == NR_name_to_handle_at)) slot->arg[3] = a[4]; /* their flags */
    i64 got = *result = call_through(regs);
    u64 ended_ns = now_ns();
    u64 page = 0;
    if (may_be_fstat) {
        int is_known = was_read(got) || (!me.is_quiet && path && readable_length(path, 1, &page) >= 0);
        if (!path || (is_known && !path[0])) {
            if (!got) fstat_seen((i32)a[0], (i64)a[nr == NR_statx ? 4 : 2], nr == NR_statx);
            return 1;
        }
        slot = ring_take(1, &at);
        if (slot) call_begin(slot, nr, tid, begun_ns, a[0], a[1], a[2], a[3]);
    }
    if (nr == NR_openat && !FAILED(got)) sites_opened((const char *)a[1], (i32)got);
    if (!slot) return 1;
    slot->dur_ns = ended_ns - begun_ns;
    slot->result = got;
    if (path && !was_read(got) && (me.is_quiet || readable_length(path, 4096, &page) < 0)) path = 0;
    /* of two paths the second may not have been reached when the first was not found */
    if (second && FAILED(got) && (me.is_quiet || readable_length(second, 4096, &page) < 0)) second = 0;
    if (path) n_path = length(path);
    if (second) {
        n_second = length(second);
        slot->has |= HAS_SECOND;
    }
    int is_relative = !PATH_OF(shape) || (path && path[0] != '/');
    if (!is_relative) n_base = 0;
    else if (!may_move && !me.is_quiet && (DIRECTORY_OF(shape) || PATH_OF(shape))) n_base = path_of_descriptor(directory, tid, at, &base);
    if (n_base) slot->has |= HAS_BASE;
    if (DIRECTORY_2_OF(shape) && second && second[0] != '/' && !me.is_quiet) {
        n_base_2 = path_of_descriptor((i32)a[DIRECTORY_2_OF(shape) - 1], tid, at, &base_2);
        if (n_base_2) slot->has |= HAS_BASE_2;
    }
    if (!FAILED(got)) switch (nr) {
    case NR_open: case NR_openat: case NR_creat: case NR_openat2:
        if (!me.is_quiet) { /* where it led to; the second base's room is free here */
            n_second = path_of_descriptor((i32)got, tid, at, &base_2);
            second = base_2;
            if (n_second && n_second == n_path && is_same(second, path, n_path)) {
                slot->has |= HAS_SAME;
                n_second = 0;
            } else if (n_second) slot->has |= HAS_SECOND;
        }
        opened(thread, got, at);
        break;
    case NR_stat: case NR_lstat: note_status(slot, a[1], 0); break;
    case NR_newfstatat: note_status(slot, a[2], 0); break;
    case NR_statx: note_status(slot, a[4], 1); break;
    case NR_readlink: second = (const char *)a[1]; n_second = (unsigned)got; slot->has |= HAS_SECOND; break;
    case NR_readlinkat: second = (const char *)a[2]; n_second = (unsigned)got; slot->has |= HAS_SECOND; break;
    case NR_getdents: case NR_getdents64: slot->n_entries = n_entries(a[1], got); break;
    }
    ring_text(slot, at, (const char *const[4]){path, second, base, base_2}, (const unsigned[4]){n_path, n_second, n_base, n_base_2});
    slot_done(slot);
    return 1;
}
