/* How we get into a program, and leave no library behind.
 *
 * LD_AUDIT: the loader maps us and calls la_version before it opens any other file. We rewrite the loader, leave a private copy
 * of our own image, and return 0: the loader unloads us. No audit remains (one that stays costs calls through the PLT), and no
 * library stands in the program's list. libc is rewritten when the loader maps it: its mmap comes by.
 * LD_PRELOAD, for programs that LD_AUDIT would keep from starting (exec.c): our constructor runs before all others; what is
 * mapped by then is rewritten in place, what comes later as above.
 *
 * Invariant: nothing is done without our ring (ring.c), in a program that runs with more rights than its caller, or where no
 * memory may become executable.
 * Invariant: who has no ring (the run is over) hands us on to nobody: where what it starts runs, in a container or on another
 * node, our file may not be, and the loader there would say so. */
#include "calls.h"
#include "elf.h"
#include "sites.h"

#ifndef FSP_STAY /* a test's: la_version returns the version, as loaders before glibc 2.30 need */
#define FSP_STAY 0
#endif
#define EXPORTED __attribute__((visibility("default")))
#define IMAGE extern __attribute__((visibility("hidden"))) char
IMAGE __ehdr_start[];
IMAGE _end[];
IMAGE __etext_page[];
extern char **environ __attribute__((weak, visibility("default")));
extern int __libc_start_main(void) __attribute__((weak, visibility("default")));

__attribute__((visibility("hidden"))) struct process me;

static const char *variable(char *const *env, const char *name) {
    for (; *env; env++) {
        unsigned n = 0;
        while (name[n] && (*env)[n] == name[n]) n++;
        if (!name[n] && (*env)[n] == '=') return *env + n + 1;
    }
    return 0;
}

/* Our own path as LD_AUDIT or LD_PRELOAD names it: the component whose file is called as ours is. Kept in memory of our own: a
 * program may write over its environment. */
static void remember_path(const char *list) {
    static const char name[] = "fsprobe-inline.so";
    const unsigned n_name = sizeof name - 1;
    for (const char *at = list; at && *at;) {
        unsigned n = 0;
        while (at[n] && at[n] != ':' && at[n] != ' ') n++;
        if (n > n_name && n < sizeof me.audit && starts_with(at + n - n_name, name) && at[n - n_name - 1] == '/') {
            copy(me.audit, at, n);
            me.audit[n] = 0;
            return;
        }
        at += n + (at[n] != 0);
    }
}

/* Takes us out of a list of the environment, in place. The loader is in the middle of LD_AUDIT's: other entries stay where they
 * are, ours becomes empty ones, which it skips. */
static void forget_in(char *list) {
    static const char name[] = "/fsprobe-inline.so";
    const unsigned n_name = sizeof name - 1;
    int is_alone = 1;
    for (char *at = list; at && *at;) {
        unsigned n = 0;
        while (at[n] && at[n] != ':' && at[n] != ' ') n++;
        if (n >= n_name && starts_with(at + n - n_name, name))
            for (unsigned i = 0; i < n; i++) at[i] = ':';
        else if (n) is_alone = 0;
        at += n + (at[n] != 0);
    }
    if (list && is_alone) *list = 0;
}
static void forget_us(char *const *env) {
    char *ring = (char *)variable(env, "FSPROBE_RING");
    forget_in((char *)variable(env, "LD_AUDIT"));
    forget_in((char *)variable(env, "LD_PRELOAD"));
    if (ring) *ring = 0;
}

static void say_start(char *const *argv, char *const *env, int by_preload) {
    u64 at;
    u32 pid = (u32)syscall3(NR_getpid, 0, 0, 0);
    const char *program = (const char *)auxiliary(env, AT_EXECFN);
    char base_room[SMALL], *base = base_room;
    unsigned n_argv = 0, n_base = 0, n_program = program ? length(program) : 0;
    me.last_tid = (u32)syscall3(NR_gettid, 0, 0, 0);
    me.own->pid = pid;
    struct slot *slot = ring_take(1, &at);
    if (!slot) return;
    slot_begin(slot, START, me.last_tid, now_ns());
    slot->arg[0] = pid;
    slot->arg[1] = (u64)syscall3(NR_getppid, 0, 0, 0);
    slot->arg[2] = (u64)by_preload;
    slot->arg[3] = (u64)syscall3(NR_geteuid, 0, 0, 0);
    /* the words stand one behind the other where the kernel has put them */
    if (argv[0])
        for (char *const *word = argv; *word && *word == argv[0] + n_argv && n_argv < 2048; word++) n_argv += length(*word) + 1;
    if (program && program[0] != '/') n_base = path_of_descriptor(AT_FDCWD, me.last_tid, at, &base);
    slot->has = HAS_SECOND | (n_base ? HAS_BASE : 0);
    ring_text(slot, at, (const char *const[4]){program, argv[0], base, 0}, (const unsigned[4]){n_program, n_argv, n_base, 0});
    slot_done(slot);
    me.own->home = (u32)at + 1;
}

/* May la_version return 0, to have this module unloaded? Loaders before glibc 2.30 crash then (BZ 24122); those that don't have
 * a message for it. Looked up once per run. */
static int may_leave(const char *loader, struct table *table) {
    if (table && table->may_leave) return table->may_leave == 2;
    int may = elf_has_text(loader, "la_version returned zero", 24);
    if (table) table->may_leave = may ? 2 : 1;
    return may;
}

/* Runs in the copy that stays. Returns whether the loader may unload us. */
static int install(char *const *argv, char *const *env, const char *loader, int by_preload) {
    const char *vdso = (const char *)auxiliary(env, AT_SYSINFO_EHDR);
    u64 start, end;
    struct table *table = 0;
    me.gettime = vdso ? (i32(*)(i32, i64 *))elf_symbol(vdso, "__vdso_clock_gettime") : 0;
    clock_begin();
    me.is_by_preload = (u32)by_preload;
    say_start(argv, env, by_preload);
    thread_seen();
    if (elf_text(loader, &start, &end)) table = sites_rewrite(start, end, 1);
    if (by_preload)
        for (struct link_map *object = elf_objects(env, 0); object; object = object->next)
            if (object->base && object->name && sites_are_wanted(object->name) && elf_text((const char *)object->base, &start, &end))
                sites_rewrite(start, end, 0);
    return may_leave(loader, table);
}

static int get_in(char *const *argv, char *const *env, const char *loader, int by_preload) {
    static int is_done;
    const char *ring = variable(env, "FSPROBE_RING");
    if (is_done++ || auxiliary(env, AT_SECURE)) return 0;
    if (!ring || !ring_attach(ring, (u64)loader)) {
        forget_us(env);
        return 0;
    }
    remember_path(variable(env, by_preload ? "LD_PRELOAD" : "LD_AUDIT"));
    u64 bytes = page_up((u64)(_end - __ehdr_start)), text_bytes = (u64)(__etext_page - __ehdr_start);
    i64 image = syscall6(NR_mmap, page_down((u64)loader) - 0x400000 - bytes, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (u64)-1, 0);
    if (FAILED(image)) return 0;
    copy((char *)image, __ehdr_start, (u64)(_end - __ehdr_start));
    if (FAILED(syscall3(NR_mprotect, image, text_bytes, PROT_READ | PROT_EXEC))) { /* no memory may become executable here */
        syscall3(NR_munmap, image, bytes, 0);
        return 0;
    }
    typedef int installing(char *const *, char *const *, const char *, int);
    installing *there = (installing *)((char *)image + ((char *)install - __ehdr_start));
    return there(argv, env, loader, by_preload);
}

EXPORTED unsigned la_version(unsigned version) {
    const char *loader = (const char *)page_down((u64)__builtin_return_address(0));
    while (*(const u32 *)loader != 0x464c457f) loader -= PAGE;
    i64 **stack_end = elf_symbol(loader, "__libc_stack_end"), *stack = stack_end ? *stack_end : 0; /* argc, argv, environment */
    if (!stack) return version;
    return get_in((char *const *)(stack + 1), (char *const *)(stack + 2 + *stack), loader, 0) && !FSP_STAY ? 0 : version;
}

/* Of LD_PRELOAD alone: under LD_AUDIT la_version has come before. */
static void constructor(int argc, char **argv, char **env) {
    u64 all = ~0ull, before = 0;
    struct { u64 dev, ino, n_links, rest[15]; } tasks;
    if (!&__libc_start_main || !env) return; /* in an auditor's own namespace */
    (void)argc;
    me.audit[0] = 0;
    const char *audit = variable(env, "LD_AUDIT");
    if (audit) {
        remember_path(audit);
        if (me.audit[0]) return;
    }
    /* Another thread, of a constructor before ours, could run what is being rewritten; so could a signal's handler. */
    if (!variable(env, "FSPROBE_RING")) forget_us(env);
    const char *ring = variable(env, "FSPROBE_RING");
    if (!ring || !ring_is_out_of_sandbox(ring) || FAILED(syscall3(NR_stat, "/proc/self/task", &tasks, 0)) || tasks.n_links != 3) return;
    if (FAILED(syscall6(NR_rt_sigprocmask, 0, (u64)&all, (u64)&before, 8, 0, 0))) return;
    u64 loader;
    if (elf_objects(env, &loader) && loader) get_in(argv, env, (const char *)loader, 1);
    syscall6(NR_rt_sigprocmask, 2, (u64)&before, 0, 8, 0, 0);
}
__attribute__((section(".init_array"), used)) static void (*const constructor_at)(int, char **, char **) = constructor;
