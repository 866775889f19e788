/* What a rewritten site jumps to.
 *
 * Each site has a stub of its own, which does what was moved and goes on to fsp_stub with the address of its tail:
 *     (moved instructions; for BY_REGISTER: mov $NR,%eax)
 *     lea tail(%rip),%rcx          rcx and r11 are free: a system call changes them
 *     jmp fsp_stub
 *     gate - tail, way_back - tail 32 bits each; 0: this object has none
 *   tail:
 *     jmp behind the `syscall`     the call has been made, its result is in rax
 *     jmp to the `syscall`         it is still to be made
 * BY_XOR has both `syscall` and the cmp behind it here, since the jump covers them.
 *
 * Invariant: all registers, xmm0-15 and the red zone are as after the program's own call. The flags are not: no compiler
 * takes them to live through a system call's inline assembly, which names "cc" as changed on x86.
 * Invariant: while a call lasts, an unwinder (of a thread that is cancelled, of a signal's handler, of a debugger) finds its way
 * from it to the site and on to the program's frames; no unwinder knows our own frames. So the call is made by a `syscall; ret` of
 * the object itself (the gate), which returns behind the `syscall` of the object's __restore_rt, as if a signal's handler had
 * interrupted the program at the site: each unwinder reads the registers from what a signal would have left on the stack, and
 * we leave the same there. Nothing ever comes back to that place; the padding there (the way back) takes a jump to fsp_back.
 * Known difference: a thread with PTHREAD_CANCEL_ASYNCHRONOUS, or of glibc before 2.41 in a call that is a cancellation point, can
 * be cancelled in the microsecond before or after the call, among our own frames. It then ends with its cleanup handlers run, but
 * without the destructors of the frames above. */
#include "sites.h"
#include "calls.h"

/* rax: number, rcx: the site's tail. fsp_call(struct registers *, i64 *result) finds them pushed in its order. */
__asm__(".text\n.p2align 4\n.globl fsp_stub\n.hidden fsp_stub\n"
        "fsp_stub:\n"
        "mov %rsp,%r11\n lea -128(%rsp),%rsp\n" /* the red zone */
        "push %r11\n push %r15\n push %r14\n push %r13\n push %r12\n push %rbx\n push %rbp\n"
        "push %rcx\n push %r9\n push %r8\n push %r10\n push %rdx\n push %rsi\n push %rdi\n push %rax\n"
        "mov %rsp,%rdi\n push %rbp\n mov %rsp,%rbp\n sub $280,%rsp\n and $-16,%rsp\n"
        "movaps %xmm0,(%rsp)\n movaps %xmm1,16(%rsp)\n movaps %xmm2,32(%rsp)\n movaps %xmm3,48(%rsp)\n"
        "movaps %xmm4,64(%rsp)\n movaps %xmm5,80(%rsp)\n movaps %xmm6,96(%rsp)\n movaps %xmm7,112(%rsp)\n"
        "movaps %xmm8,128(%rsp)\n movaps %xmm9,144(%rsp)\n movaps %xmm10,160(%rsp)\n movaps %xmm11,176(%rsp)\n"
        "movaps %xmm12,192(%rsp)\n movaps %xmm13,208(%rsp)\n movaps %xmm14,224(%rsp)\n movaps %xmm15,240(%rsp)\n"
        "lea -8(%rbp),%rsi\n cld\n call fsp_call\n"
        "movaps (%rsp),%xmm0\n movaps 16(%rsp),%xmm1\n movaps 32(%rsp),%xmm2\n movaps 48(%rsp),%xmm3\n"
        "movaps 64(%rsp),%xmm4\n movaps 80(%rsp),%xmm5\n movaps 96(%rsp),%xmm6\n movaps 112(%rsp),%xmm7\n"
        "movaps 128(%rsp),%xmm8\n movaps 144(%rsp),%xmm9\n movaps 160(%rsp),%xmm10\n movaps 176(%rsp),%xmm11\n"
        "movaps 192(%rsp),%xmm12\n movaps 208(%rsp),%xmm13\n movaps 224(%rsp),%xmm14\n movaps 240(%rsp),%xmm15\n"
        "mov -8(%rbp),%r11\n mov %rbp,%rsp\n pop %rbp\n"
        "test %eax,%eax\n"
        "pop %rax\n pop %rdi\n pop %rsi\n pop %rdx\n pop %r10\n pop %r8\n pop %r9\n pop %rcx\n"
        "lea 184(%rsp),%rsp\n" /* neither pop nor lea changes the flags */
        "jz 1f\n mov %r11,%rax\n jmp *%rcx\n"
        "1: lea 5(%rcx),%rcx\n jmp *%rcx\n");

/* fsp_through(regs, gate, way_back, site_end): makes the call at the gate. What a signal would have left: struct ucontext of x86_64
 * up to its rip, from which __restore_rt's unwind information takes all registers; offsets are those of struct registers. */
__asm__(".text\n.p2align 4\n.globl fsp_through, fsp_back\n.hidden fsp_through, fsp_back\n"
        "fsp_through:\n"
        "push %rbx\n push %rbp\n mov %rsp,%rbp\n mov %rdi,%rbx\n mov %rsi,%r11\n mov %rdx,%rax\n"
        "push %rcx\n push 112(%rbx)\n push 56(%rbx)\n push 0(%rbx)\n push 24(%rbx)\n" /* rip rsp rcx rax rdx */
        "push 72(%rbx)\n push 64(%rbx)\n push 16(%rbx)\n push 8(%rbx)\n"             /* rbx rbp rsi rdi */
        "push 104(%rbx)\n push 96(%rbx)\n push 88(%rbx)\n push 80(%rbx)\n"           /* r15 r14 r13 r12 */
        "push $0\n push 32(%rbx)\n push 48(%rbx)\n push 40(%rbx)\n"                  /* r11 r10 r9 r8 */
        "sub $40,%rsp\n push %rax\n"                                                /* flags, link, stack; where the gate returns to */
        "mov 0(%rbx),%rax\n mov 8(%rbx),%rdi\n mov 16(%rbx),%rsi\n mov 24(%rbx),%rdx\n"
        "mov 32(%rbx),%r10\n mov 40(%rbx),%r8\n mov 48(%rbx),%r9\n"
        "jmp *%r11\n"
        "fsp_back:\n"
        "mov %rbp,%rsp\n pop %rbp\n pop %rbx\n ret\n");
_Static_assert(offsetof(struct registers, tail) == 56 && offsetof(struct registers, rbp) == 64 && offsetof(struct registers, rsp) == 112, "registers");

u8 *write_jump(u8 *to, const u8 *target) {
    *to = 0xe9;
    *(i32 *)(to + 1) = (i32)(target - (to + 5));
    return to + 5;
}

/* Room for a site's stub. */
unsigned stub_bytes(const struct site *site) { return site->len + 56u; }

u8 *stub_write(u8 *to, const u8 *code, const struct site *site, const u8 *gate, const u8 *way_back) {
    u8 *end = to + stub_bytes(site);
    if (site->form == BY_REGISTER) {
        *to++ = 0xb8;
        *(u32 *)to = site->nr;
        to += 4;
    } else
        for (u32 at = 0; at < site->len;) { /* instruction by instruction: an address relative to rip has to be corrected */
            unsigned n = at ? plain_length(code + at) : site->form == BY_XOR ? 2 : 5;
            for (unsigned i = 0; i < n; i++) to[i] = code[at + i];
            if (at && is_bytes(to, "\x48\x8d", 2) && (to[2] & 0xc7) == 5) *(i32 *)(to + 3) += (i32)(code + at - to);
            to += n;
            at += n;
        }
    *to++ = 0x48, *to++ = 0x8d, *to++ = 0x0d, *(i32 *)to = 13, to += 4; /* lea tail(%rip),%rcx */
    to = write_jump(to, (const u8 *)fsp_stub);
    ((i32 *)to)[0] = gate ? (i32)(gate - (to + 8)) : 0;
    ((i32 *)to)[1] = gate ? (i32)(way_back - (to + 8)) : 0;
    to += 8;
    if (site->form == BY_MOV || site->form == BY_ANY) {
        to = write_jump(to, code + site->len + 2);
        write_jump(to, code + site->len);
    } else if (site->form == BY_XOR) {
        u8 *own = to + 10;
        write_jump(to, own + 2);
        write_jump(to + 5, own);
        for (unsigned i = 0; i < 8; i++) own[i] = code[2 + i]; /* syscall; cmp */
        write_jump(own + 8, code + 10);
    } else { /* does not come back: what was replaced is done, and the program goes on to its call */
        write_jump(to, to + 10);
        write_jump(to + 5, to + 10);
        for (unsigned i = 0; i < 5; i++) to[10 + i] = code[i];
        write_jump(to + 15, code + 5);
    }
    return end;
}
