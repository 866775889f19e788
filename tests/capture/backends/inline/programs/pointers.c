/* Calls with pointers that lead nowhere, and with other arguments that the kernel refuses before it reads a path: prints each
 * errno. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void) {
    /* always the same addresses: some are taken for flags */
    char *buffer = mmap((void *)0x100000000, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), *edge = buffer + 8192;
    char *missing = buffer + 4096;
    munmap(edge, 4096);
    strcpy(missing, "/nonexistent/directory/x");
    edge[-2] = 'x';
    edge[-1] = 'y'; /* a text that no zero ends before its page does */
    long nowhere[] = {8, 0, (long)edge, (long)edge - 2, -1, (long)0x800000000000};
    int numbers[] = {2, 4, 6, 21, 59, 76, 80, 82, 83, 84, 85, 86, 87, 88, 89, 90, 92, 132, 133, 137, 161, 188, 191, 194, 197, 235,
                     254, 257, 258, 259, 260, 261, 262, 263, 264, 265, 266, 267, 268, 269, 280, 301, 303, 316, 322, 332, 437, 439,
                     452, 435, 217, 78, 0, 17, 19, 3, 33, 61, 247};
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        for (unsigned k = 0; k < sizeof nowhere / sizeof *nowhere; k++)
            for (int position = 0; position < 4; position++) {
                long a[6] = {-100, (long)missing, (long)buffer, 0, 0, 0};
                if (numbers[i] < 257 && numbers[i] != 254) a[0] = (long)missing, a[1] = (long)buffer, a[2] = 16;
                if (numbers[i] == 0 || numbers[i] == 17 || numbers[i] == 19 || numbers[i] == 3 || numbers[i] == 217 || numbers[i] == 78) a[0] = 777;
                if (numbers[i] == 33) a[0] = 777, a[1] = 778;
                if (numbers[i] == 61 || numbers[i] == 247) a[0] = 999999, a[1] = 999999, a[3] = 1 | 4;
                if (numbers[i] == 435) a[1] = 88;
                if (position == 0 && (numbers[i] == 435 || numbers[i] == 61)) continue;
                a[position] = nowhere[k];
                errno = 0;
                long result = syscall(numbers[i], a[0], a[1], a[2], a[3], a[4], a[5]);
                printf("%d %u %d: %ld %d\n", numbers[i], k, position, result > 0 ? 1 : result, errno);
            }
    long refused[][5] = {{89, 8, (long)buffer, -1, 0}, {89, 8, (long)buffer, 0, 0}, {316, -100, 8, -100, 8}, {439, -100, 8, 0777, 0},
                         {332, -100, 8, 0x6000, 0}, {263, -100, 8, 0x7777, 0}, {257, -100, 8, 0x3ffffff, 0}, {322, -1, 8, 0, 0}};
    for (unsigned i = 0; i < sizeof refused / sizeof *refused; i++) {
        errno = 0;
        long result = syscall(refused[i][0], refused[i][1], refused[i][2], refused[i][3], refused[i][4], 0x7777);
        printf("refused %u: %ld %d\n", i, result, errno);
    }
}
