/* libc's syscall() changes no vector register: neither may what stands in for its call. Prints what differs. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned char before[16][16], after[16][16];
static long call(long number, long a, long b, long c, long d) {
    long result;
    register void *from __asm__("r14") = before, *to __asm__("r15") = after, *target __asm__("r13") = (void *)syscall;
    register long fifth __asm__("r8") = d;
    __asm__ volatile(
        "movdqu (%%r14),%%xmm0\n movdqu 16(%%r14),%%xmm1\n movdqu 32(%%r14),%%xmm2\n movdqu 48(%%r14),%%xmm3\n"
        "movdqu 64(%%r14),%%xmm4\n movdqu 80(%%r14),%%xmm5\n movdqu 96(%%r14),%%xmm6\n movdqu 112(%%r14),%%xmm7\n"
        "movdqu 128(%%r14),%%xmm8\n movdqu 144(%%r14),%%xmm9\n movdqu 160(%%r14),%%xmm10\n movdqu 176(%%r14),%%xmm11\n"
        "movdqu 192(%%r14),%%xmm12\n movdqu 208(%%r14),%%xmm13\n movdqu 224(%%r14),%%xmm14\n movdqu 240(%%r14),%%xmm15\n"
        "mov %%rsp,%%rbx\n and $-16,%%rsp\n sub $128,%%rsp\n call *%%r13\n mov %%rbx,%%rsp\n"
        "movdqu %%xmm0,(%%r15)\n movdqu %%xmm1,16(%%r15)\n movdqu %%xmm2,32(%%r15)\n movdqu %%xmm3,48(%%r15)\n"
        "movdqu %%xmm4,64(%%r15)\n movdqu %%xmm5,80(%%r15)\n movdqu %%xmm6,96(%%r15)\n movdqu %%xmm7,112(%%r15)\n"
        "movdqu %%xmm8,128(%%r15)\n movdqu %%xmm9,144(%%r15)\n movdqu %%xmm10,160(%%r15)\n movdqu %%xmm11,176(%%r15)\n"
        "movdqu %%xmm12,192(%%r15)\n movdqu %%xmm13,208(%%r15)\n movdqu %%xmm14,224(%%r15)\n movdqu %%xmm15,240(%%r15)\n"
        : "=a"(result), "+D"(number), "+S"(a), "+d"(b), "+c"(c), "+r"(fifth)
        : "r"(from), "r"(to), "r"(target)
        : "rbx", "r9", "r10", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
          "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    return result;
}
int main(void) {
    struct stat status;
    for (int i = 0; i < 256; i++) ((unsigned char *)before)[i] = (unsigned char)(i * 37 + 11);
    struct { const char *name; long number, a, b, c; long expected; int error; } cases[] = {
        {"stat", SYS_stat, (long)"/etc/passwd", (long)&status, 0, 0, 0},
        {"missing", SYS_stat, (long)"/nonexistent", (long)&status, 0, -1, ENOENT},
        {"relative", SYS_open, (long)"nothing/here", O_RDONLY, 0, -1, ENOENT},
        {"fault", SYS_open, 8, O_RDONLY, 0, -1, EFAULT},
        {"read", SYS_read, -1, (long)&status, 1, -1, EBADF},
        {"getppid", SYS_getppid, 0, 0, 0, (long)getppid(), 0},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        errno = 0;
        memset(after, 0, sizeof after);
        long result = call(cases[i].number, cases[i].a, cases[i].b, cases[i].c, 0);
        if (result != cases[i].expected || errno != cases[i].error) printf("%s: %ld errno %d\n", cases[i].name, result, errno);
        if (memcmp(before, after, sizeof before)) printf("%s: vector registers differ\n", cases[i].name);
    }
    puts("done");
}
