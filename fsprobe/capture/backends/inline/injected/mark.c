/* An import hook's note. It comes as access(2) of `fsprobe...` relative to descriptor -1 with a mode that no program uses
 * (MARK_MODE): the hook so needs no descriptor, no file and no module. The kernel does not see it. Where the call is not
 * recorded here the kernel refuses it (EINVAL or EBADF) without a look-up; here it succeeds, so that the hook can tell.
 *
 * With each note: what the thread has used so far, in the ring's own clock. Its CPU time is the clock's: getrusage gives what
 * it was at the last tick of the scheduler, 1 to 10 ms ago. */
#include "calls.h"

struct usage { /* struct rusage */
    i64 user_s, user_us, system_s, system_us, max_rss, shared, data, stack, minor, major, swaps, in, out, sent, received, signals,
        voluntary, involuntary;
};

int mark_taken(const struct registers *regs, i64 *result) {
    const char *text = (const char *)regs->arg[1];
    u64 page = 0, at;
    if ((i32)regs->arg[0] != -1) return 0;
    /* in a sandbox the text can't be asked for, and no program but the hook uses this mode */
    if (!me.is_quiet && readable_length(text, 4096, &page) < 0) return 0;
    if (!starts_with(text, "fsprobe")) return 0;
    u32 tid = TID(thread_seen());
    struct usage usage;
    i64 cpu[2], begun = now_ns();
    /* asked for before there is a slot: a process that is killed in one of these calls leaves none half written */
    const int has_usage = !me.is_quiet && !FAILED(syscall3(NR_getrusage, RUSAGE_THREAD, &usage, 0)) &&
                          !FAILED(syscall3(NR_clock_gettime, CLOCK_THREAD_CPUTIME_ID, cpu, 0));
    struct slot *slot = ring_take(1, &at);
    *result = 0;
    if (!slot) return 1;
    slot_begin(slot, MARK, tid, begun);
    if (has_usage) {
        slot->arg[0] = (u64)cpu[0] * 1000000000u + (u64)cpu[1];
        slot->arg[1] = (u64)usage.major;
        slot->arg[2] = (u64)usage.voluntary;
        slot->arg[3] = (u64)usage.minor;
    } else
        slot->has |= HAS_NO_USAGE;
    ring_text(slot, at, (const char *const[4]){text, 0, 0, 0}, (const unsigned[4]){length(text), 0, 0, 0});
    slot_done(slot);
    return 1;
}
