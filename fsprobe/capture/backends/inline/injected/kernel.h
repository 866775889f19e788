/* Types, the system calls that we make ourselves, and the numbers that are spoken of by name. x86_64 Linux. */
#ifndef FSP_KERNEL_H
#define FSP_KERNEL_H
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t i32;
typedef int64_t i64;

/* Nothing may need a GOT entry or a relocation: the image is copied to where it stays (entry.c). */
#pragma GCC visibility push(hidden)

static inline i64 syscall6(i64 nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) {
    i64 result;
    register u64 r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#define syscall3(nr, a, b, c) syscall6(nr, (u64)(a), (u64)(b), (u64)(c), 0, 0, 0)
#define FAILED(result) ((u64)(result) > (u64)-4096)

enum {
    NR_read = 0, NR_open = 2, NR_close = 3, NR_stat = 4, NR_fstat = 5, NR_lstat = 6, NR_mmap = 9, NR_mprotect = 10,
    NR_munmap = 11, NR_rt_sigprocmask = 14, NR_pread64 = 17, NR_readv = 19, NR_mremap = 25, NR_madvise = 28, NR_dup = 32,
    NR_dup2 = 33, NR_nanosleep = 35, NR_getpid = 39, NR_sendfile = 40, NR_clone = 56, NR_fork = 57, NR_vfork = 58, NR_execve = 59, NR_exit = 60, NR_wait4 = 61, NR_fcntl = 72,
    NR_getdents = 78, NR_getcwd = 79, NR_chdir = 80, NR_rename = 82, NR_rmdir = 84, NR_creat = 85, NR_readlink = 89, NR_getrusage = 98, NR_geteuid = 107,
    NR_getppid = 110, NR_pivot_root = 155, NR_prctl = 157, NR_setrlimit = 160, NR_chroot = 161, NR_umount2 = 166, NR_gettid = 186, NR_getdents64 = 217, NR_clock_gettime = 228, NR_exit_group = 231, NR_waitid = 247,
    NR_openat = 257, NR_fchownat = 260, NR_newfstatat = 262, NR_unlinkat = 263, NR_renameat = 264, NR_readlinkat = 267, NR_faccessat = 269, NR_splice = 275, NR_dup3 = 292, NR_preadv = 295, NR_prlimit64 = 302, NR_name_to_handle_at = 303,
    NR_renameat2 = 316, NR_seccomp = 317, NR_execveat = 322, NR_copy_file_range = 326, NR_preadv2 = 327, NR_statx = 332, NR_io_uring_setup = 425, NR_clone3 = 435,
    NR_close_range = 436, NR_openat2 = 437, NR_faccessat2 = 439, NR_landlock_restrict_self = 446,
    N_CALLS = 470
};
enum { ENOENT = 2, EACCES = 13, EFAULT = 14, EEXIST = 17, ENOTDIR = 20, EISDIR = 21, ERANGE = 34, ELOOP = 40 };
enum { AT_FDCWD = -100, AT_EMPTY_PATH = 0x1000, AT_EACCESS = 0x200, R_OK = 4, O_CLOEXEC = 02000000 };
enum { PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4, MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_ANONYMOUS = 0x20 };
enum { MREMAP_MAYMOVE = 1, MREMAP_FIXED = 2, MADV_WIPEONFORK = 18 };
enum { PR_SET_SECCOMP = 22, PR_SET_TSC = 26, F_DUPFD = 0, F_DUPFD_CLOEXEC = 1030, CLOSE_RANGE_CLOEXEC = 4, CLONE_VFORK = 0x4000 };
enum { SECCOMP_MODE_STRICT = 1, SECCOMP_SET_MODE_STRICT = 0, SECCOMP_SET_MODE_FILTER = 1, RUSAGE_THREAD = 1, CLOCK_THREAD_CPUTIME_ID = 3 };
enum { RLIMIT_AS = 9 };
enum { PAGE = 4096 };

static inline u64 page_down(u64 at) { return at & ~(u64)(PAGE - 1); }
static inline u64 page_up(u64 at) { return page_down(at + PAGE - 1); }

/* `rep movsb`: a plain loop would become a call of memcpy, which is not there. */
static inline char *copy(char *to, const char *from, u64 n) {
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    return to;
}
static inline unsigned length(const char *text) {
    unsigned n = 0;
    while (n < 4095 && text[n]) n++; /* PATH_MAX - 1, as strace */
    return n;
}
static inline int starts_with(const char *text, const char *beginning) {
    while (*beginning)
        if (*text++ != *beginning++) return 0;
    return 1;
}
static inline int is_bytes(const u8 *code, const char *pattern, int n) {
    while (n--)
        if (code[n] != (u8)pattern[n]) return 0;
    return 1;
}
#pragma GCC visibility pop
#endif
