/* The ring: found by the environment, checked, mapped; and text that does not fit into a slot.
 *
 * Invariant: without a ring that is beyond doubt the recorder's, nothing is done. The path comes from the environment of a
 * program that may outlive the run, so what lies there is not trusted: it must be a regular file, no link, ours, closed to
 * others, with the header that the recorder writes and at least as long as it says.
 * Invariant: a program that was started in a sandbox is left alone. Its filter may kill on any call that it does not make by
 * itself; until that is known only such calls are made as its loader makes: openat, read, close. Where the run itself goes on in a
 * container with a filter, or under strace --seccomp-bpf, the first program of the run has it too: more than that one is a sandbox.
 * Invariant: no descriptor stays open (a program that closes or reuses descriptors would meet it). */
#include "ring.h"

enum { O_FLAGS = 2 | 0400000 | 02000000 | 04000 | 0400 }; /* RDWR NOFOLLOW CLOEXEC NONBLOCK NOCTTY */
enum { S_IFMT = 0170000, S_IFREG = 0100000 };
#define MAX_SLOTS (1ull << 28) /* 64 GiB of address space; and the index of a slot must fit 32 bits */
struct status { /* struct stat of x86_64, as far as it is read */
    u64 dev, ino, n_links;
    u32 mode, uid, gid, pad;
    u64 rdev;
    i64 size;
    u64 rest[11];
};
_Static_assert(offsetof(struct status, size) == 48 && sizeof(struct status) >= 144, "stat");

static int is_ours(i64 fd, struct header *head) {
    struct status status;
    if (FAILED(syscall3(NR_fstat, fd, &status, 0))) return 0;
    if ((status.mode & S_IFMT) != S_IFREG || status.mode & 077 || status.uid != (u32)syscall3(NR_geteuid, 0, 0, 0)) return 0;
    if (syscall6(NR_pread64, (u64)fd, (u64)head, 64, 0, 0, 0) != 64) return 0;
    return head->magic == RING_MAGIC && head->version == RING_VERSION && head->slot_bytes == SLOT_BYTES && head->max <= MAX_SLOTS &&
           head->cap <= head->max && (u64)status.size >= HEADER_BYTES + head->cap * SLOT_BYTES;
}

/* What one read gives; the flags tell whoever traces us that it is ours. */
static i64 read_file(const char *path, char *to, u64 most) {
    i64 fd = syscall6(NR_openat, (u64)AT_FDCWD, (u64)path, O_FLAGS & ~2u, 0, 0, 0), n;
    if (FAILED(fd)) return 0;
    n = syscall3(NR_read, fd, to, most);
    syscall3(NR_close, fd, 0, 0);
    return FAILED(n) ? 0 : n;
}

/* How many filters this process has. Linux before 5.9 says only that there are some: then it is 1. */
static u64 n_filters(void) {
    static const char names[2][18] = {"\nSeccomp_filters:\t", "\nSeccomp:\t"};
    char text[8192];
    i64 n = read_file("/proc/self/status", text, sizeof text - 1);
    text[n] = 0;
    for (int which = 0; which < 2; which++)
        for (const char *at = text; *at; at++) {
            u64 number = 0, skip = which ? 10 : 18;
            if (*at != '\n' || !is_bytes((const u8 *)at, names[which], (int)skip)) continue;
            for (at += skip; *at >= '0' && *at <= '9'; at++) number = number * 10 + (u64)(*at - '0');
            return which ? number == 2 : number;
        }
    return 0;
}

static int has_more_filters(const char *path, u64 filters) {
    struct header head;
    if (!filters || read_file(path, (char *)&head, 64) != 64) return 0;
    return head.magic == RING_MAGIC && head.filters && filters + 1 > head.filters;
}

int ring_is_out_of_sandbox(const char *path) { return !has_more_filters(path, n_filters()); }

#define FAR 0x1000000000ull /* 64 GiB */

/* Maps the ring; 0 where there is none, or none that is ours. The mapping is as long as the ring may grow: the file itself
 * is only as long as it is allocated, so that mlockall() of the program finds nothing to allocate behind.
 * Invariant: it stays away from the loader and the libraries that come below it. Of some GiB, right below the loader, it would
 * leave no room for stubs that a jump of 32 bits reaches. */
int ring_attach(const char *path, u64 loader) {
    struct header head;
    u64 filters = n_filters(), none = 0;
    if (has_more_filters(path, filters)) return 0;
    i64 fd = syscall3(NR_open, path, O_FLAGS, 0), map = -1;
    if (FAILED(fd)) return 0;
    if (is_ours(fd, &head)) {
        u64 most = HEADER_BYTES + head.max * SLOT_BYTES;
        map = syscall6(NR_mmap, page_down(loader) - FAR - page_up(most), most, PROT_READ | PROT_WRITE, MAP_SHARED, (u64)fd, 0);
    }
    syscall3(NR_close, fd, 0, 0);
    if (FAILED(map)) return 0;
    u64 bytes = PAGE + N_DESCRIPTORS * sizeof(u32);
    i64 own = syscall6(NR_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (u64)-1, 0);
    if (FAILED(own) || FAILED(syscall3(NR_madvise, own, PAGE, MADV_WIPEONFORK))) { /* Linux 4.14 */
        if (!FAILED(own)) syscall3(NR_munmap, own, bytes, 0);
        syscall3(NR_munmap, map, HEADER_BYTES + head.max * SLOT_BYTES, 0);
        return 0;
    }
    me.own = (struct own *)own;
    me.slot_of = (u32 *)(own + PAGE);
    me.max = head.max;
    me.slots = (char *)map + HEADER_BYTES;
    me.header = (struct header *)map;
    __atomic_compare_exchange_n(&me.header->filters, &none, filters + 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return 1;
}

enum { LEAST_KEPT = 64, MOST_KEPT = 65536 }; /* slots, 16 KiB to 16 MiB: what a program does after it has limited its addresses */

/* Gives back the addresses that the ring has not grown to, but for slots that take a 64th of the limit.
 * Invariant: nobody has a slot above `max`. Who took one before `max` changed did so below the `next` that is read after it. */
void ring_shrink(u64 limit_bytes) {
    u64 kept = limit_bytes / 64 / SLOT_BYTES, old = me.max, max, next = __atomic_load_n(&me.header->next, __ATOMIC_SEQ_CST);
    if (kept > MOST_KEPT) kept = MOST_KEPT;
    if (kept < LEAST_KEPT) kept = LEAST_KEPT;
    for (int n = 0;; n++) {
        max = next + kept;
        if (max >= old || n == 8) {
            __atomic_store_n(&me.max, old, __ATOMIC_SEQ_CST);
            return;
        }
        __atomic_exchange_n(&me.max, max, __ATOMIC_SEQ_CST);
        next = __atomic_load_n(&me.header->next, __ATOMIC_SEQ_CST);
        if (next <= max) break;
    }
    u64 from = page_up((u64)me.slots + max * SLOT_BYTES), to = page_up((u64)me.slots + old * SLOT_BYTES);
    syscall3(NR_munmap, from, to - from, 0);
}

enum { WAIT_NS = 500000, MOST_WAITS = 500 };

/* Waits until the ring has so many slots; 0 where it does not grow. On a busy machine the recorder may not be let run for a while, and
 * the slots that it has allocated ahead are used up meanwhile. Where it is gone or stands still, a quarter of a second is lost
 * once, by whoever comes first; and none in a sandbox, which may not allow the call. */
__attribute__((noinline, cold)) int ring_grows(u64 n_slots) {
    const i64 pause[2] = {0, WAIT_NS};
    if (me.is_quiet) return 0;
    for (int n = 0; n < MOST_WAITS; n++) {
        if (__atomic_load_n(&me.header->stays, __ATOMIC_RELAXED)) return 0;
        syscall3(NR_nanosleep, pause, 0, 0);
        if (n_slots <= __atomic_load_n(&me.header->cap, __ATOMIC_RELAXED)) return 1;
    }
    __atomic_store_n(&me.header->stays, 1, __ATOMIC_RELAXED);
    return 0;
}

/* Takes slots for a long text. */
struct long_text *ring_room(unsigned n_slots, u32 tid, u64 owner, u64 *at) {
    struct long_text *room = n_slots <= 255 ? (struct long_text *)ring_take(n_slots, at) : 0;
    if (!room) return 0;
    room->magic = SLOT_MAGIC;
    room->kind = TEXT;
    room->n_slots = (u8)n_slots;
    room->tid = tid;
    room->owner = owner;
    room->state = DONE;
    return room;
}

/* Puts path, second text, base and second base into a slot, or beside it where they are too long. */
void ring_text(struct slot *slot, u64 at, const char *const texts[4], const unsigned lengths[4]) {
    unsigned total = lengths[0] + lengths[1] + lengths[2] + lengths[3];
    char *to = slot->text;
    if (total > TEXT_BYTES) {
        u64 where;
        struct long_text *room = ring_room((total + LONG_TEXT_AT + SLOT_BYTES - 1) / SLOT_BYTES, slot->tid, at, &where);
        if (!room) {
            slot->has |= HAS_CUT;
            return;
        }
        slot->has |= HAS_LONG;
        slot->text_at = (u32)where;
        to = room->text;
    }
    for (int i = 0; i < 4; i++) to = copy(to, texts[i], lengths[i]);
    slot->n1 = (u16)lengths[0];
    slot->n2 = (u16)lengths[1];
    slot->n3 = (u16)lengths[2];
    slot->n4 = (u16)lengths[3];
}
