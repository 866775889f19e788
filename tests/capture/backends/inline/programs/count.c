/* Counts in a file that it shares how many calls it has made, until it is killed. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int fd = open(argv[1], O_RDWR | O_CREAT, 0600);
    struct stat status;
    ftruncate(fd, 8);
    volatile long *n = mmap(0, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    for (;;) {
        stat("/etc/passwd", &status);
        ++*n;
    }
}
