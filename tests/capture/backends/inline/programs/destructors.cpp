/* Threads that are cancelled while they wait in a call: how many destructors of their frames have run, and what an unwinder sees
 * from a signal's handler that interrupts such a call. */
#include <csignal>
#include <cstdio>
#include <execinfo.h>
#include <fcntl.h>
#include <initializer_list>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static int n_destroyed, n_cleaned, ends[2], is_unwound;
static void *came_from;
static volatile pid_t waiting;
static const char *fifo;
struct Guard {
    int kept[4] = {1, 2, 3, 4}; /* a frame with registers to save */
    ~Guard() { n_destroyed += kept[0] == 1 && kept[3] == 4; }
};
static char byte;
static struct iovec one = {&byte, 1};
static void reads() { (void)!read(ends[0], &byte, 1); }
static void reads_vector() { (void)!readv(ends[0], &one, 1); }
static void opens() { open(fifo, O_RDONLY); }
static void opens_at() { openat(AT_FDCWD, fifo, O_WRONLY); }
static void creates() { creat(fifo, 0600); }
static void waits() { waitpid(-1, nullptr, 0); }
static void waits_id() {
    siginfo_t info;
    waitid(P_ALL, 0, &info, WEXITED);
}
static void locks() {
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    fcntl(open(fifo, O_RDWR | O_CLOEXEC), F_OFD_SETLKW, &lock);
}
static void reads_stream() {
    FILE *stream = fdopen(ends[0], "r");
    fgetc(stream);
}
struct Job {
    void (*run)();
    int type;
};
static void clean(void *) { n_cleaned++; }
__attribute__((noinline)) static void inner(const Job *job) {
    Guard guard;
    waiting = gettid();
    job->run();
}
static void *starts(void *job) {
    int old;
    Guard outer;
    came_from = __builtin_return_address(0);
    pthread_setcanceltype(static_cast<Job *>(job)->type, &old);
    pthread_cleanup_push(clean, nullptr);
    inner(static_cast<Job *>(job));
    pthread_cleanup_pop(0);
    return nullptr;
}
/* Until the thread sleeps in its call. */
static void wait_for_sleep() {
    char name[64], text[512];
    for (int n = 0; n < 5000; n++, usleep(1000)) {
        if (!waiting) continue;
        snprintf(name, sizeof name, "/proc/self/task/%d/syscall", waiting);
        int fd = open(name, O_RDONLY);
        ssize_t got = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);
        if (fd >= 0) close(fd);
        if (got > 0 && text[0] != 'r') return; /* not "running" */
    }
}
static void handle(int) {
    void *frames[64];
    int n = backtrace(frames, 64);
    is_unwound = 1;
    while (n--)
        if (frames[n] == came_from) is_unwound = 2; /* all the way to the thread's start */
}
int main(int, char **argv) {
    static const struct {
        const char *name;
        void (*run)();
    } calls[] = {{"read", reads}, {"readv", reads_vector}, {"open", opens}, {"openat", opens_at}, {"creat", creates}, {"waitpid", waits},
                 {"waitid", waits_id}, {"fcntl", locks}, {"fgetc", reads_stream}};
    fifo = argv[1];
    if (pipe(ends) || mkfifo(fifo, 0600)) return 1;
    pid_t child = fork(); /* to wait for */
    if (!child) {
        alarm(60);
        pause();
        _exit(0);
    }
    int holder = open(fifo, O_RDWR | O_CLOEXEC);
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    fcntl(holder, F_OFD_SETLK, &lock);
    signal(SIGUSR1, handle);
    for (auto &call : calls)
        for (int type : {PTHREAD_CANCEL_DEFERRED, PTHREAD_CANCEL_ASYNCHRONOUS}) {
            Job job = {call.run, type};
            pthread_t thread;
            void *result;
            n_destroyed = n_cleaned = waiting = is_unwound = 0;
            if (call.run == opens || call.run == opens_at || call.run == creates) close(holder), holder = -1;
            else if (holder < 0) {
                holder = open(fifo, O_RDWR | O_CLOEXEC);
                fcntl(holder, F_OFD_SETLK, &lock);
            }
            pthread_create(&thread, nullptr, starts, &job);
            wait_for_sleep();
            pthread_kill(thread, SIGUSR1);
            for (int n = 0; !is_unwound && n < 5000; n++) usleep(1000);
            wait_for_sleep();
            pthread_cancel(thread);
            pthread_join(thread, &result);
            printf("%s %s: unwound %d cancelled %d destroyed %d cleaned %d\n", call.name, type ? "async" : "deferred", is_unwound,
                   result == PTHREAD_CANCELED, n_destroyed, n_cleaned);
        }
    unlink(fifo);
    kill(child, SIGKILL);
}
