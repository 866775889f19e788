/* pthread_cancel of threads that wait in read, poll and open. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int n_cleaned;
static const char *fifo;
static void clean(void *unused) { n_cleaned++; }
static void *opens(void *unused) {
    pthread_cleanup_push(clean, 0);
    open(fifo, O_RDONLY);
    pthread_cleanup_pop(0);
    return 0;
}
static void *reads(void *unused) {
    int ends[2];
    char byte;
    pipe(ends);
    pthread_cleanup_push(clean, 0);
    read(ends[0], &byte, 1);
    pthread_cleanup_pop(0);
    return 0;
}
static void *polls(void *unused) {
    pthread_cleanup_push(clean, 0);
    poll(0, 0, -1);
    pthread_cleanup_pop(0);
    return 0;
}
static int cancelled(void *(*run)(void *)) {
    pthread_t thread;
    void *result;
    struct timespec limit;
    pthread_create(&thread, 0, run, 0);
    usleep(50000);
    pthread_cancel(thread);
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 5;
    return pthread_timedjoin_np(thread, &result, &limit) ? -1 : result == PTHREAD_CANCELED;
}
int main(int argc, char **argv) {
    fifo = argv[1];
    mkfifo(fifo, 0600);
    printf("read %d poll %d ", cancelled(reads), cancelled(polls));
    printf("open %d cleaned %d\n", cancelled(opens), n_cleaned);
    fflush(stdout);
    unlink(fifo);
    _exit(0);
}
