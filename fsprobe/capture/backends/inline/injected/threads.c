/* Which thread makes a call, and what a thread says of itself with its first one.
 *
 * Invariant: a forked child's knowledge is zeroed by the kernel (MADV_WIPEONFORK): no handler of fork, nothing per thread. */
#include "calls.h"

/* The thread pointer, as the ABI has it at its own address; only threads that are not the first surely have one. */
static u64 thread_pointer(void) {
    u64 pointer;
    __asm__("mov %%fs:0,%0" : "=r"(pointer));
    return pointer;
}

/* A thread's first call: it says who it is. Returns its number, with VFORKED in a vfork's child: that has another process
 * number than the memory that it runs in. */
static u32 say(u32 tid) {
    u32 pid = (u32)syscall3(NR_getpid, 0, 0, 0), is_forked = me.own->pid == 0, is_vforked = !is_forked && me.own->pid != pid;
    u64 at;
    struct slot *slot = ring_take(1, &at);
    if (is_forked) __atomic_store_n(&me.own->pid, pid, __ATOMIC_RELAXED);
    if (slot) {
        slot_begin(slot, NEWTID, tid, now_ns());
        slot->arg[0] = pid;
        slot->arg[1] = (u64)syscall3(NR_getppid, 0, 0, 0);
        slot->arg[2] = tid == pid ? me.cloner : 0;
        slot->arg[3] = tid == pid ? 0 : thread_pointer();
        slot_done(slot);
        if (is_forked && !me.own->home) me.own->home = (u32)at + 1;
    }
    return is_vforked ? tid | VFORKED : tid;
}

static u32 *place_of(u32 tid, int n) { return &me.own->tids[(((tid * 2654435761u >> 22) + (u32)n) & 1023) % N_TIDS]; }

/* The calling thread, noted if it is new. In a sandbox the one that was seen last, since it can't be asked who it is; in a
 * child that a sandbox has forked off nobody (0). */
u32 thread_seen(void) {
    if (me.is_quiet) return me.own->pid ? me.last_tid : 0;
    u32 tid = (u32)syscall3(NR_gettid, 0, 0, 0);
    me.last_tid = tid;
    for (int n = 0;; n++) {
        u32 *entry = place_of(tid, n), old = __atomic_load_n(entry, __ATOMIC_RELAXED);
        if (old && TID(old) == tid) return old;
        if (!old || old == NO_TID || n == 7) { /* no room: another one says who it is once more */
            u32 thread = say(tid);
            __atomic_store_n(entry, thread, __ATOMIC_RELAXED);
            return thread;
        }
    }
}

/* A thread ends, or a vfork's child leaves its parent's memory: its number may be another's later. */
void thread_forget(u32 tid) {
    for (int n = 0; n < 8; n++)
        if (TID(*place_of(tid, n)) == tid) {
            __atomic_store_n(place_of(tid, n), NO_TID, __ATOMIC_RELAXED); /* not 0: others may lie behind */
            return;
        }
}
