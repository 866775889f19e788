/* sandbox prctl|seccomp alone|fork|vfork [mark]: a filter that kills on any call but those that the program itself makes. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALLOW(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

int main(int argc, char **argv) {
    struct stat status;
    char byte;
    stat("/etc/passwd", &status);
    if (!strcmp(argv[2], "vfork") && !vfork()) _exit(stat("/etc/passwd", &status));
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(SYS_openat), ALLOW(SYS_newfstatat), ALLOW(SYS_read), ALLOW(SYS_write), ALLOW(SYS_close), ALLOW(SYS_exit_group),
        ALLOW(SYS_clone), ALLOW(SYS_wait4), ALLOW(SYS_set_robust_list), ALLOW(SYS_rseq), ALLOW(SYS_rt_sigprocmask),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog all = {sizeof filter / sizeof *filter, filter};
    prctl(PR_GET_SECCOMP, 0, 0, 0, 0);
    if (!strcmp(argv[1], "prctl")) prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all);
    else syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &all);
    pid_t pid = !strcmp(argv[2], "fork") ? fork() : 0;
    if (!pid) {
        int fd = open("/etc/hosts", O_RDONLY);
        read(fd, &byte, 1);
        close(fd);
        stat("relative", &status);
        if (argc > 3) faccessat(-1, "fsprobe>mark", 0x46535021, 0);
        stat((char *)8, &status);
        stat("/etc/group", &status);
        write(1, "alive\n", 6);
        _exit(5);
    }
    int how;
    wait4(pid, &how, 0, 0);
    _exit(WIFEXITED(how) ? WEXITSTATUS(how) : 99);
}
