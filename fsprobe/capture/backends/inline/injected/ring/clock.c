/* The time: CLOCK_MONOTONIC, which the import hook notes too.
 *
 * Invariant: in a sandbox no call of ours is made. The vDSO's clock_gettime makes one where the machine's clock can't be read
 * from user space, so there the processor's own counter is read and scaled by what it did since the program's start. */
#include "ring.h"

static inline u64 counter(void) {
    u32 low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (u64)high << 32 | low;
}

void clock_begin(void) {
    me.start_ns = now_ns();
    me.start_tsc = counter();
}

/* Called before a sandbox begins. */
void clock_quiet(void) {
    u64 ticks;
    me.quiet_ns = now_ns();
    if (me.has_no_tsc) return;
    me.quiet_tsc = counter();
    ticks = me.quiet_tsc - me.start_tsc;
    /* 20 binary places: exact to 1e-6 over four hours, after that the scale is 0 and time stands still */
    me.ns_per_tsc = ticks && me.quiet_ns - me.start_ns < 1ull << 44 ? ((me.quiet_ns - me.start_ns) << 20) / ticks : 0;
}

u64 clock_slow(void) {
    i64 t[2];
    if (!me.is_quiet) {
        syscall3(NR_clock_gettime, 1, t, 0);
        return (u64)t[0] * 1000000000u + (u64)t[1];
    }
    if (me.has_no_tsc) return me.quiet_ns;
    return me.quiet_ns + (u64)((unsigned __int128)(counter() - me.quiet_tsc) * me.ns_per_tsc >> 20);
}
