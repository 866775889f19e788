/* A storm of signals whose handler makes calls, jumps out of calls, and the program's own SIGSYS handler. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

static volatile long hits;
static sigjmp_buf back;
static char stack[16384];
static void calls(int signal) {
    struct stat status;
    int saved = errno, fd;
    stat("/etc/group", &status);
    fd = open("/etc/hosts", O_RDONLY);
    if (fd >= 0) close(fd);
    hits++;
    errno = saved;
}
static void jumps(int signal) { siglongjmp(back, 1); }
static void traps(int signal, siginfo_t *info, void *context) { ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = -ENOSYS; }

int main(void) {
    struct stat status;
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&other, 0);
    struct sigaction action = {.sa_handler = calls, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigaction(SIGALRM, &action, 0);
    struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}}, once = {{0, 0}, {0, 200}};
    setitimer(ITIMER_REAL, &often, 0);
    long wrong = 0;
    for (int i = 0; i < 40000; i++) {
        errno = 77;
        if (stat("/etc/passwd", &status) || errno != 77) wrong++;
        if (stat("/nonexistent", &status) != -1 || errno != ENOENT) wrong++;
    }
    setitimer(ITIMER_REAL, &never, 0);
    printf("wrong %ld, signals %s\n", wrong, hits > 10 ? "came" : "did not come");
    action.sa_handler = jumps;
    action.sa_flags = 0;
    sigaction(SIGALRM, &action, 0);
    for (int i = 0; i < 200; i++)
        if (!sigsetjmp(back, 1)) {
            setitimer(ITIMER_REAL, &once, 0);
            for (;;) stat("/etc/passwd", &status);
        }
    puts("jumped");
    struct sigaction trapped = {.sa_sigaction = traps, .sa_flags = SA_SIGINFO};
    sigaction(SIGSYS, &trapped, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mkdir, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog all = {4, filter};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &all)) perror("seccomp");
    int made = mkdir("/tmp/never", 0700);
    printf("mkdir %d %s\n", made, strerror(errno));
    return 0;
}
