/* execve and execveat: what is started, and how the recorder gets into it.
 *
 * Invariant: what is read here the kernel has not read yet, so each page is asked for first; an exec with a bad pointer fails
 * as it would without us.
 * Invariant: a program that is started with LD_PRELOAD must live. Under LD_AUDIT the loader fixes the room for static TLS
 * before it has seen what is preloaded, and an allocator (jemalloc: 2.6 KB of it) then does not start. Its environment is
 * handed on without us in LD_AUDIT and with us last in LD_PRELOAD; the loader's own calls are then missing, and said. Where such
 * a program starts others without LD_PRELOAD (ray's raylet), they get back what we have taken away. So too a program that is known to be
 * linked with more than the loader leaves (rustc).
 * Invariant: where our file can't be read (another root, another user, Landlock) the loader would say so on stderr: a program that is
 * started there is left alone, as far as may be asked.
 * Invariant: what starts containers and jobs is left alone: it hands its environment on to where our file may not be. So is valgrind:
 * it reports what the loader itself frees with any LD_AUDIT. The exec without a start tells. */
#include "calls.h"

#define EXEC_SLOTS 9u
#define MAX_PATH 4095u /* of a longer one the kernel reads no more */
#define MAX_VARIABLES 1000u
#define MAX_PRELOAD 2048u

/* Whether 8 bytes may be read: rt_sigprocmask reads them before it finds that its first argument is none. One call a page. */
int is_readable(const void *at, u64 *known_page) {
    u64 page = page_down((u64)at);
    if (page && page == *known_page) return 1;
    if (!page || syscall6(NR_rt_sigprocmask, (u64)-1, (u64)at & ~7ull, 0, 8, 0, 0) == -EFAULT) return 0;
    *known_page = page;
    return 1;
}

/* Whether a pointer may be read that need not be aligned: it may lie in two pages. */
static int is_readable_pointer(char *const *at, u64 *known_page) {
    return is_readable(at, known_page) && is_readable((const char *)at + sizeof *at - 1, known_page);
}

/* Length of a text that may not be there: -1. */
i32 readable_length(const char *text, unsigned most, u64 *known_page) {
    for (unsigned n = 0; n < most; n++) {
        if ((!n || !((u64)(text + n) & (PAGE - 1))) && !is_readable(text + n, known_page)) return -1;
        if (!text[n]) return (i32)n;
    }
    return (i32)most;
}

/* Program and directory, which always have room (there may be 4095 bytes of either), and argv, as far as it has. */
static void note_program(struct slot *slot, u64 at, const char *path, char *const *argv, const char *base, unsigned n_base) {
    u64 where, page = 0, words = 0;
    i32 n_path = readable_length(path, MAX_PATH, &page), n;
    if (n_path < 0) n_path = 0;
    unsigned n_slots = EXEC_SLOTS + (n_base + (unsigned)n_path) / SLOT_BYTES;
    struct long_text *room = ring_room(n_slots, slot->tid, at, &where);
    if (!room) {
        slot->has |= HAS_CUT;
        return;
    }
    unsigned left = n_slots * SLOT_BYTES - LONG_TEXT_AT - n_base;
    char *to = room->text;
    slot->has |= HAS_LONG | HAS_SECOND | (n_base ? HAS_BASE : 0);
    slot->text_at = (u32)where;
    to = copy(to, path, (u64)n_path);
    left -= (unsigned)n_path;
    slot->n1 = (u16)n_path;
    for (; left && is_readable_pointer(argv, &words) && *argv; argv++) {
        n = readable_length(*argv, 256, &page);
        if (n < 0) break;
        if ((unsigned)n + 1 > left) {
            slot->has |= HAS_CUT;
            break;
        }
        to = copy(to, *argv, (u64)n);
        *to++ = 0;
        left -= (unsigned)n + 1;
        slot->n2 = (u16)(slot->n2 + n + 1);
    }
    copy(to, base, n_base);
    slot->n3 = (u16)n_base;
}

/* Where our own path stands in a list with colons; 0: it does not. */
static const char *find_in_list(const char *list) {
    unsigned n = length(me.audit);
    for (const char *at = list; n && *at;) {
        if (starts_with(at, me.audit) && (!at[n] || at[n] == ':')) return at;
        while (*at && *at != ':') at++;
        if (*at) at++;
    }
    return 0;
}

struct variables {
    unsigned n;
    int audit, preload, other_audit, ring; /* index, or -1; `audit` is the one that names us */
};
static int read_environment(char *const *env, struct variables *found) {
    u64 pointers = 0, page = 0;
    *found = (struct variables){0, -1, -1, -1, -1};
    for (; found->n < MAX_VARIABLES; found->n++) {
        if (!is_readable_pointer(env + found->n, &pointers)) return 0;
        const char *text = env[found->n];
        if (!text) return 1;
        if (readable_length(text, 12, &page) < 0) return 0;
        if (starts_with(text, "LD_AUDIT=")) {
            if (readable_length(text, 4096, &page) < 0) return 0;
            *(find_in_list(text + 9) ? &found->audit : &found->other_audit) = (int)found->n;
        } else if (starts_with(text, "LD_PRELOAD=")) {
            if (readable_length(text, MAX_PRELOAD, &page) < 0) return 0;
            found->preload = (int)found->n;
        } else if (starts_with(text, "FSPROBE_RING=")) {
            if (readable_length(text, 4096, &page) < 0) return 0;
            if (text[13]) found->ring = (int)found->n;
        }
    }
    return 0;
}
static int has_preload(const char *list) {
    for (; *list; list++)
        if (*list != ' ' && *list != ':') return 1;
    return 0;
}

/* Starts containers, jobs on other machines, or is a machine itself in which programs run (valgrind). */
static const char starters[] = "apptainer\0singularity\0ch-run\0docker\0podman\0enroot\0shifter\0sarus\0sbatch\0qsub\0bsub\0valgrind\0";
/* Linked with more static TLS than the loader leaves under LD_AUDIT: librustc_driver has 23 KB of it. */
static const char crowded[] = "rustc\0rustdoc\0rustfmt\0clippy-driver\0miri\0";

/* Whether a program is one of these. */
static int is_named(const char *names, const char *path, unsigned n) {
    unsigned from = n;
    while (from && path[from - 1] != '/') from--;
    for (const char *name = names; *name; name += length(name) + 1)
        if (length(name) == n - from && starts_with(path + from, name)) return 1;
    return 0;
}

/* Whether the loader of what is started will find our file. Landlock judges opens alone. */
static int is_in_reach(void) {
    i64 got = syscall6(NR_faccessat2, (u64)AT_FDCWD, (u64)me.audit, R_OK, AT_EACCESS, 0, 0);
    if (!me.is_landlocked || FAILED(got)) return got != -ENOENT && got != -EACCES && got != -ENOTDIR && got != -ELOOP;
    got = syscall3(NR_open, me.audit, O_CLOEXEC, 0);
    if (!FAILED(got)) syscall3(NR_close, got, 0, 0);
    return got != -EACCES;
}

/* Makes the call without us in LD_AUDIT; where something is preloaded and it is not to be left alone, with us in LD_PRELOAD. The
 * new list and its two strings lie on this stack; where they would be too long the program is started without us, and its exec
 * without a start tells. */
__attribute__((noinline)) static i64 exec_without_audit(const struct registers *regs, int env_at, const struct variables *found, int by_preload) {
    char *const *env = (char *const *)regs->arg[env_at];
    const char *audit = env[found->audit] + 9, *preload = by_preload && found->preload >= 0 ? env[found->preload] + 11 : "", *ours = find_in_list(audit);
    unsigned n_audit = length(audit), n_preload = length(preload), n_own = length(me.audit), n = 0;
    int is_there = !by_preload || find_in_list(preload) != 0, fits = n_preload + n_own + 16 <= MAX_PRELOAD && n_audit < 1024;
    char *list[found->n + 2], new_preload[fits && !is_there ? n_preload + n_own + 16 : 1], new_audit[fits ? n_audit + 16 : 1], *to;
    struct registers changed = *regs;
    for (unsigned i = 0; i < found->n; i++) {
        if ((int)i == found->audit) {
            if (!fits || n_audit == n_own) continue;
            to = copy(new_audit, "LD_AUDIT=", 9); /* other auditors stay */
            to = copy(to, audit, (u64)(ours - audit));
            const char *rest = ours + n_own;
            if (*rest == ':') rest++;
            else if (to[-1] == ':') to--;
            to = copy(to, rest, length(rest));
            *to = 0;
            list[n++] = new_audit;
        } else if ((int)i != found->preload || !fits || is_there) list[n++] = env[i];
    }
    if (fits && !is_there) {
        to = copy(new_preload, "LD_PRELOAD=", 11);
        to = copy(to, preload, n_preload);
        if (n_preload) *to++ = ':';
        to = copy(to, me.audit, n_own);
        *to = 0;
        list[n++] = new_preload;
    }
    list[n] = 0;
    changed.arg[env_at] = (u64)list;
    return call_through(&changed);
}

/* Whether somebody has taken away LD_PRELOAD, and us with it. */
static int is_left_out(char *const *env, const struct variables *found) {
    return me.is_by_preload && found->ring >= 0 && found->audit < 0 && (found->preload < 0 || !find_in_list(env[found->preload] + 11));
}

/* Makes the call with us in LD_AUDIT once more, or last in what else is preloaded. */
__attribute__((noinline)) static i64 exec_with_us(const struct registers *regs, int env_at, const struct variables *found) {
    char *const *env = (char *const *)regs->arg[env_at];
    int by_preload = found->preload >= 0 && has_preload(env[found->preload] + 11), at = by_preload ? found->preload : found->other_audit;
    const char *name = by_preload ? "LD_PRELOAD=" : "LD_AUDIT=", *others = at >= 0 ? env[at] + length(name) : "";
    unsigned n_others = length(others), n = 0;
    if (n_others > MAX_PRELOAD) return call_through(regs);
    char *list[found->n + 2], text[n_others + length(me.audit) + 16], *to;
    struct registers changed = *regs;
    to = copy(text, name, length(name));
    to = copy(to, others, n_others);
    if (n_others) *to++ = ':';
    to = copy(to, me.audit, length(me.audit));
    *to = 0;
    for (unsigned i = 0; i < found->n; i++)
        if ((int)i != at) list[n++] = env[i];
    list[n++] = text;
    list[n] = 0;
    changed.arg[env_at] = (u64)list;
    return call_through(&changed);
}

int call_exec(struct registers *regs, i64 *result) {
    const u64 *a = regs->arg;
    int is_at = regs->nr == NR_execveat, argv_at = is_at ? 2 : 1, env_at = is_at ? 3 : 2;
    const char *path = (const char *)a[is_at];
    char base_room[SMALL], *base = base_room;
    unsigned n_base = 0;
    u64 at = 0, page = 0;
    u32 thread = thread_seen(), tid = TID(thread);
    struct variables found = {0, -1, -1, -1, -1};
    if (!me.is_quiet && is_readable(path, &page) && *path != '/') n_base = path_of_descriptor(is_at ? (i32)a[0] : AT_FDCWD, tid, NO_OWNER, &base);
    struct slot *slot = ring_take(1, &at);
    if (slot) {
        call_begin(slot, regs->nr, tid, now_ns(), a[0], is_at ? a[4] : 0, 0, 0);
        if (!me.is_quiet) note_program(slot, at, path, (char *const *)a[argv_at], base, n_base);
    }
    char *const *env = (char *const *)a[env_at];
    int is_read = !me.is_quiet && me.audit[0] && env && read_environment(env, &found), has_us = is_read && found.audit >= 0;
    i32 n_path = is_read ? readable_length(path, 4096, &page) : -1;
    int is_alone = (n_path > 0 && is_named(starters, path, (unsigned)n_path)) || (has_us && !is_in_reach()), has_preloads = is_read && found.preload >= 0 && has_preload(env[found.preload] + 11);
    int by_preload = has_us && !is_alone && (has_preloads || (n_path > 0 && is_named(crowded, path, (unsigned)n_path))), again = is_read && !is_alone && is_left_out(env, &found);
    if ((by_preload || (again && has_preloads)) && slot) slot->has |= HAS_HANDED_ON;
    if (thread & VFORKED) thread_forget(tid); /* if it fails, it says once more who it is */
    i64 got = *result = again ? exec_with_us(regs, env_at, &found) : has_us && (by_preload || is_alone) ? exec_without_audit(regs, env_at, &found, by_preload) : call_through(regs);
    if (!slot) return 1;
    slot->dur_ns = now_ns() - slot->t_ns;
    slot->result = got;
    if (me.is_quiet && got != -EFAULT) ring_text(slot, at, (const char *const[4]){path, 0, 0, 0}, (const unsigned[4]){length(path), 0, 0, 0});
    slot_done(slot);
    return 1;
}
