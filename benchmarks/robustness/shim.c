/* Makes one call of a process fail: the FAULT_AT-th on a path that contains one of FAULT_PLACES (separated by ':'), with the
   error number FAULT_ERROR; with FAULT_FOR_GOOD all later ones too. Each such call is noted in FAULT_NOTES. Its children run
   without it, as it takes itself out of the environment. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int n_seen, at, error_number, for_good, notes = -1;
static pid_t owner;
static char places[512];

static const char *take(const char *name) {
    const char *value = getenv(name);
    char *kept = value ? strdup(value) : NULL;
    unsetenv(name);
    return kept;
}

__attribute__((constructor)) static void begin(void) {
    const char *number = take("FAULT_AT"), *error = take("FAULT_ERROR"), *where = take("FAULT_PLACES");
    const char *good = take("FAULT_FOR_GOOD"), *file = take("FAULT_NOTES");
    unsetenv("LD_PRELOAD");
    if (!number || !error || !where) return;
    at = atoi(number), error_number = atoi(error), for_good = good != NULL;
    snprintf(places, sizeof places, "%s", where);
    if (file) {
        int fd = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        notes = fcntl(fd, F_DUPFD_CLOEXEC, 300);
        syscall(SYS_close, fd);
    }
    owner = getpid();
}

static int fails(const char *call, const char *path) {
    char list[512], line[1024];
    int is_meant = 0, is_fault;
    if (!owner || getpid() != owner || !path) return 0;
    strcpy(list, places);
    for (char *rest = list, *one; (one = strsep(&rest, ":"));) is_meant |= *one && strstr(path, one) != NULL;
    if (!is_meant) return 0;
    n_seen++;
    is_fault = at > 0 && (n_seen == at || (for_good && n_seen > at));
    if (notes >= 0) {
        int size = snprintf(line, sizeof line, "%s %s%s\n", call, path, is_fault ? " FAULT" : "");
        syscall(SYS_write, notes, line, size);
    }
    if (is_fault) errno = error_number;
    return is_fault;
}

static int fails_at(const char *call, int directory, const char *path) {
    char link[64], full[1024];
    ssize_t size = 0;
    if (!owner || getpid() != owner) return 0;
    if (path && *path == '/') return fails(call, path);
    snprintf(link, sizeof link, directory == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", directory);
    size = syscall(SYS_readlinkat, AT_FDCWD, link, full, 500);
    if (size <= 0) return 0;
    snprintf(full + size, sizeof full - size, "%s%s", path ? "/" : "", path ? path : "");
    return fails(call, full);
}

#define NEXT(name) static __typeof__(name) *real; if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define MODE va_list more; va_start(more, flags); mode_t mode = va_arg(more, int); va_end(more)

int open(const char *p, int flags, ...) { MODE; NEXT(open); return fails_at("open", AT_FDCWD, p) ? -1 : real(p, flags, mode); }
int open64(const char *p, int flags, ...) { MODE; NEXT(open64); return fails_at("open", AT_FDCWD, p) ? -1 : real(p, flags, mode); }
int openat(int d, const char *p, int flags, ...) { MODE; NEXT(openat); return fails_at("open", d, p) ? -1 : real(d, p, flags, mode); }
int openat64(int d, const char *p, int flags, ...) { MODE; NEXT(openat64); return fails_at("open", d, p) ? -1 : real(d, p, flags, mode); }
ssize_t read(int fd, void *to, size_t n) { NEXT(read); return fails_at("read", fd, NULL) ? -1 : real(fd, to, n); }
ssize_t pread64(int fd, void *to, size_t n, off64_t o) { NEXT(pread64); return fails_at("pread", fd, NULL) ? -1 : real(fd, to, n, o); }
ssize_t write(int fd, const void *from, size_t n) { NEXT(write); return fails_at("write", fd, NULL) ? -1 : real(fd, from, n); }
off64_t lseek64(int fd, off64_t o, int how) { NEXT(lseek64); return fails_at("lseek", fd, NULL) ? -1 : real(fd, o, how); }
int fsync(int fd) { NEXT(fsync); return fails_at("fsync", fd, NULL) ? -1 : real(fd); }
int fallocate64(int fd, int how, off64_t o, off64_t n) { NEXT(fallocate64); return fails_at("fallocate", fd, NULL) ? -1 : real(fd, how, o, n); }
int truncate64(const char *p, off64_t n) { NEXT(truncate64); return fails_at("truncate", AT_FDCWD, p) ? -1 : real(p, n); }
int mkdir(const char *p, mode_t m) { NEXT(mkdir); return fails_at("mkdir", AT_FDCWD, p) ? -1 : real(p, m); }
int mkdirat(int d, const char *p, mode_t m) { NEXT(mkdirat); return fails_at("mkdir", d, p) ? -1 : real(d, p, m); }
int rmdir(const char *p) { NEXT(rmdir); return fails_at("rmdir", AT_FDCWD, p) ? -1 : real(p); }
int unlink(const char *p) { NEXT(unlink); return fails_at("unlink", AT_FDCWD, p) ? -1 : real(p); }
int unlinkat(int d, const char *p, int how) { NEXT(unlinkat); return fails_at("unlink", d, p) ? -1 : real(d, p, how); }
int rename(const char *a, const char *b) { NEXT(rename); return fails_at("rename", AT_FDCWD, b) ? -1 : real(a, b); }
int renameat(int d, const char *a, int e, const char *b) { NEXT(renameat); return fails_at("rename", e, b) ? -1 : real(d, a, e, b); }
struct stat64;
int stat64(const char *, struct stat64 *);
int lstat64(const char *, struct stat64 *);
int fstat64(int, struct stat64 *);
int fstatat64(int, const char *, struct stat64 *, int);
int stat64(const char *p, struct stat64 *s) { NEXT(stat64); return fails_at("stat", AT_FDCWD, p) ? -1 : real(p, s); }
int lstat64(const char *p, struct stat64 *s) { NEXT(lstat64); return fails_at("stat", AT_FDCWD, p) ? -1 : real(p, s); }
int fstat64(int fd, struct stat64 *s) { NEXT(fstat64); return fails_at("stat", fd, NULL) ? -1 : real(fd, s); }
int fstatat64(int d, const char *p, struct stat64 *s, int how) { NEXT(fstatat64); return fails_at("stat", d, p) ? -1 : real(d, p, s, how); }

int close(int fd) {
    NEXT(close);
    if (fd == notes && notes >= 0) return 0;
    int is_fault = fails_at("close", fd, NULL), status = real(fd);
    if (!is_fault) return status;
    errno = error_number;
    return -1;
}

void *opendir(const char *);
void *opendir(const char *p) { NEXT(opendir); return fails_at("opendir", AT_FDCWD, p) ? NULL : real(p); }
void *fdopendir(int);
void *fdopendir(int fd) { NEXT(fdopendir); return fails_at("opendir", fd, NULL) ? NULL : real(fd); }
