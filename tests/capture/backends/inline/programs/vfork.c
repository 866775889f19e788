/* vfork with and without exec, calls on the smallest stacks, a fork while threads call. Ends with 7. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void *call_a_lot(void *unused) {
    struct stat status;
    for (int i = 0; i < 50; i++) {
        stat("/etc/passwd", &status);
        close(open("/etc/hosts", O_RDONLY));
    }
    return 0;
}
int main(void) {
    struct stat status;
    pid_t pid = vfork();
    if (!pid) {
        stat("/etc/group", &status);
        execl("/bin/true", "true", NULL);
        _exit(1);
    }
    waitpid(pid, 0, 0);
    pid = vfork();
    if (!pid) {
        open("/nonexistent", O_RDONLY);
        _exit(3);
    }
    waitpid(pid, 0, 0);
    pthread_attr_t small;
    pthread_t threads[8];
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, PTHREAD_STACK_MIN);
    for (int i = 0; i < 8; i++)
        if (pthread_create(threads + i, &small, call_a_lot, 0)) puts("no thread");
    for (int i = 0; i < 8; i++) pthread_join(threads[i], 0);
    pthread_create(threads, &small, call_a_lot, 0);
    pid = fork();
    if (!pid) {
        stat("/etc/shadow", &status);
        call_a_lot(0);
        execl("/bin/ls", "ls", "/etc/hosts", NULL);
    }
    waitpid(pid, 0, 0);
    pthread_join(threads[0], 0);
    return 7;
}
