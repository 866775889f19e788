/* The ring as a process sees it, and what one process knows of itself. */
#ifndef FSP_RING_H
#define FSP_RING_H
#include "kernel.h"
#include "slot.h"
#pragma GCC visibility push(hidden)

#define N_TIDS 1022u
#define N_DESCRIPTORS 4096u

/* Zeroed by the kernel in a forked child (MADV_WIPEONFORK): a child so knows nothing and says who it is. */
struct own {
    u32 pid;
    u32 home;         /* slot + 1 that takes the reads of descriptors nobody saw opened */
    u32 tids[N_TIDS]; /* hash table of threads that have said who they are; NEWBORN_VFORK marks a borrowed memory */
};
_Static_assert(sizeof(struct own) == PAGE, "own");

struct process {
    struct header *header;
    char *slots;
    u64 max;             /* slots that are mapped here: the header's number may be written by anybody who maps it */
    struct own *own;
    u32 *slot_of;        /* descriptor -> slot + 1 of its open; in a vfork's child these are its parent's */
    i32 (*gettime)(i32, i64 *); /* the vDSO's clock_gettime, or 0 */
    u32 last_tid;
    u32 is_quiet;        /* a sandbox has begun: no system call of ours any more */
    u32 has_vforked;     /* a child may run in this memory */
    u32 has_no_tsc;      /* the program has forbidden rdtsc, and with it the vDSO's clock */
    u64 cloner;          /* slot + 1 of the latest clone: a fork's child finds its own in its copy */
    u64 start_ns, start_tsc, quiet_ns, quiet_tsc, ns_per_tsc; /* the clock of a sandbox, see clock.c */
    u32 is_landlocked;   /* the program has taken files away from itself */
    char audit[1024];    /* our own path as it stands in LD_AUDIT */
    u32 is_by_preload;   /* we came in by LD_PRELOAD: our parent has taken us out of LD_AUDIT */
};
extern struct process me;

int ring_attach(const char *path, u64 loader);
int ring_is_out_of_sandbox(const char *path);
void ring_shrink(u64 limit_bytes);
void ring_text(struct slot *slot, u64 at, const char *const texts[4], const unsigned lengths[4]);
int ring_grows(u64 n_slots);
struct long_text *ring_room(unsigned n_slots, u32 tid, u64 owner, u64 *at);
u64 clock_slow(void);
void clock_begin(void);
void clock_quiet(void);

static inline struct slot *slot_at(u64 index) { return (struct slot *)(me.slots + index * SLOT_BYTES); }

/* Takes n slots in a row, or 0 where none are left; `next` goes on counting. It may wait: times are taken afterwards. */
static inline struct slot *ring_take(u64 n, u64 *at) {
    u64 i = __atomic_fetch_add(&me.header->next, n, __ATOMIC_RELAXED);
    if (i + n > me.max || i + n < i) return 0;
    if (i + n > __atomic_load_n(&me.header->cap, __ATOMIC_RELAXED) && !ring_grows(i + n)) return 0;
    *at = i;
    return slot_at(i);
}
/* Invariant: a slot that says BEGUN says who, what and when: a thread may be killed, or jump out of a signal's handler, between
 * any two instructions here. A CALL counts from then on, the other kinds once they are DONE. */
static inline void slot_begin(struct slot *slot, int kind, u32 tid, u64 t_ns) {
    slot->magic = SLOT_MAGIC;
    slot->kind = (u8)kind;
    slot->tid = tid;
    slot->t_ns = t_ns;
    __atomic_store_n(&slot->state, BEGUN, __ATOMIC_RELEASE);
}
static inline void call_begin(struct slot *slot, u64 nr, u32 tid, u64 t_ns, u64 a, u64 b, u64 c, u64 d) {
    slot->nr = (u16)nr;
    slot->arg[0] = a;
    slot->arg[1] = b;
    slot->arg[2] = c;
    slot->arg[3] = d;
    slot_begin(slot, CALL, tid, t_ns);
}
static inline void slot_done(struct slot *slot) { __atomic_store_n(&slot->state, DONE, __ATOMIC_RELEASE); }

static inline u64 now_ns(void) {
    i64 t[2];
    i32 (*gettime)(i32, i64 *) = __atomic_load_n(&me.gettime, __ATOMIC_RELAXED); /* another thread may take it away */
    if (!gettime || me.is_quiet) return clock_slow();
    gettime(1, t);
    return (u64)t[0] * 1000000000u + (u64)t[1];
}
#pragma GCC visibility pop
#endif
