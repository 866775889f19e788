/* A cancelled thread's destructors: how many have run. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static int n_destroyed;
struct Guard {
    ~Guard() { n_destroyed++; }
};
static void *waits(void *) {
    Guard guard;
    char byte;
    int ends[2];
    if (pipe(ends)) return 0;
    (void)!read(ends[0], &byte, 1);
    return 0;
}
int main() {
    pthread_t thread;
    void *result;
    pthread_create(&thread, 0, waits, 0);
    usleep(100000);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    printf("cancelled %d destroyed %d\n", result == PTHREAD_CANCELED, n_destroyed);
}
