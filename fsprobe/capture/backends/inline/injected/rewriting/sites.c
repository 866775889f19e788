/* Finding the system call sites of the loader and of libc in memory.
 *
 * In each glibc from 2.28 on a system call is the same code:
 *     b8 NR NR 00 00    mov $NR,%eax
 *     ...               a few instructions that may run elsewhere as well
 *     0f 05             syscall
 * and the mov, 5 bytes, has just the room for a jump. Three more forms are known:
 *     BY_XOR       31 c0 0f 05 48 3d 00 f0 ff ff   xor %eax,%eax; syscall; cmp $-4096,%rax  read: number 0. The jump covers the
 *                                                  first five bytes, the cmp is moved. Nothing jumps into these (tested).
 *     BY_ANY       the number is an argument: syscall(), __syscall_cancel_arch and __internal_syscall_cancel of 2.41
 *     BY_REGISTER  _exit and the end of a thread, whose number waits in another register
 *
 * Invariant: between what is replaced and the `syscall` stand only instructions of a list (plain_length).
 * Invariant: bytes are compared again before each write, and the sites that another process left in the ring are only hints:
 * each is found anew from its `syscall`. */
#include "sites.h"
#include "calls.h"

/* Length of an instruction that does the same elsewhere and leaves eax alone; 0: it is none of those that are known. */
unsigned plain_length(const u8 *code) {
    unsigned rex = (code[0] & 0xf0) == 0x40 ? code[0] : 0, n = rex ? 1 : 0;
    unsigned w = rex & 8, r = rex & 4, b = rex & 1;
    u8 op = code[n], modrm = code[n + 1];
    unsigned reg = modrm >> 3 & 7, rm = modrm & 7;
    int reg_is_eax = reg == 0 && !r, rm_is_eax = rm == 0 && !b;
    int by_rsp_8 = (modrm & 0xc7) == 0x44 && code[n + 2] == 0x24, by_rsp_32 = (modrm & 0xc7) == 0x84 && code[n + 2] == 0x24;
#ifndef FSP_KNOW_LESS /* a test's: as if a new libc used instructions that are not known */
    if (op >= 0x50 && op <= 0x5f) return (op & 7) == 0 && !b ? 0 : n + 1;                       /* push, pop */
    if (op >= 0xb9 && op <= 0xbf) return w ? 0 : n + 5;                                         /* mov $imm32,%reg */
#endif
    if (op == 0xb8 && b && !w) return n + 5;                                                    /* mov $imm32,%r8d */
    if (op == 0x89 && modrm >= 0xc0) return rm_is_eax ? 0 : n + 2;                              /* mov %reg,%reg */
    if (op == 0x89 && by_rsp_8) return n + 4;                                                   /* mov %reg,disp8(%rsp) */
    if (op == 0x89 && by_rsp_32) return n + 7;                                                  /* mov %reg,disp32(%rsp) */
    if ((op == 0x8b || op == 0x63 || op == 0x33) && modrm >= 0xc0) return reg_is_eax ? 0 : n + 2; /* mov, movslq, xor */
    if (op == 0x31 && modrm >= 0xc0) return rm_is_eax ? 0 : n + 2;                              /* xor %reg,%reg */
    if ((op == 0x8d || op == 0x8b) && by_rsp_8) return reg_is_eax ? 0 : n + 4;                  /* lea, mov disp8(%rsp),%reg */
    if ((op == 0x8d || op == 0x8b) && by_rsp_32) return reg_is_eax ? 0 : n + 7;                 /* lea, mov disp32(%rsp),%reg */
    if (op == 0x8d && (modrm & 0xc7) == 4 && (code[n + 2] & 7) == 5) return reg_is_eax ? 0 : n + 7; /* lea disp32(,%reg,8),%reg */
    if (op == 0x8d && (modrm & 0xc7) == 5 && rex == 0x48) return reg == 0 ? 0 : n + 6;          /* lea disp32(%rip): corrected */
    if ((op == 0x8b || op == 0x63) && modrm < 0xc0 && rm != 4 && !(modrm < 0x40 && rm == 5))    /* mov, movslq disp(%reg),%reg */
        return reg_is_eax ? 0 : n + (modrm < 0x40 ? 2 : modrm < 0x80 ? 3 : 6);
    if (op == 0x80 && modrm >= 0xc0) return rm_is_eax || !rex ? 0 : n + 3;                      /* xor, and, or $imm8,%sil */
    if (op == 0x81 && modrm == 0xec) return n + 6;                                              /* sub $imm32,%rsp */
    if (op == 0x83 && modrm >= 0xc0) return rm_is_eax ? 0 : n + 3;                              /* sub, or ... $imm8,%reg */
    if (code[0] == 0x64 && (code[1] & 0xfb) == 0x48 && code[2] == 0x8b && (code[3] & 0xc7) == 4 && code[4] == 0x25)
        return code[1] == 0x48 && !(code[3] & 0x38) ? 0 : 9;                                    /* mov %fs:disp32,%reg */
    return 0;
}

/* What leads to the `syscall` at a place: the start of what is replaced, or 0. */
const u8 *site_lead(const u8 *low, const u8 *at, struct site *site, int *is_left) {
    if (at - low < 64) return 0;
    for (const u8 *code = at - 5; code > at - 56; code--) {
        if (code[0] != 0xb8 || code[3] || code[4]) continue;
        u32 nr = (u32)(code[1] | code[2] << 8), n;
        if (nr >= N_CALLS || (code[-1] == 0x41 && nr < 16)) continue; /* the latter: mov $imm,%r8d */
        const u8 *next = code + 5;
        while (next < at && (n = plain_length(next))) next += n;
        if (next != at) {
            if (shapes[nr] && at - code < 40) *is_left = 1;
            continue;
        }
        *is_left = 0;
        *site = (struct site){(u32)(code - low), (u8)(at - code), BY_MOV, (u16)nr};
        return shapes[nr] ? code : 0;
    }
    if (is_bytes(at - 2, "\x31\xc0\x0f\x05\x48\x3d\x00\xf0\xff\xff", 10)) {
        *is_left = 0;
        *site = (struct site){(u32)(at - 2 - low), 2, BY_XOR, NR_read};
        return at - 2;
    }
    *site = (struct site){(u32)(at - 5 - low), 5, BY_ANY, 0};
    if (is_bytes(at - 5, "\x4c\x8b\x4c\x24\x08", 5) && is_bytes(at + 2, "\x48\x3d\x01\xf0\xff\xff", 6)) return at - 5; /* syscall() */
    if (is_bytes(at - 5, "\x48\x8b\x44\x24", 4)) return at - 5;                     /* __internal_syscall_cancel, 2.41 to 2.43 */
    if (is_bytes(at - 5, "\x4c\x89\x5c\x24\x08", 5) && at[2] == 0xc3) return at - 5; /* __syscall_cancel_arch, 2.41 */
    return 0;
}

/* A number that waits in esi, edx or ecx before the `syscall`: of _exit, and of a thread's end. */
static const u8 *number_in_register(const u8 *low, const u8 *at, struct site *site) {
    for (const u8 *code = at - 5; code > at - 64 && code >= low; code--)
        if ((code[0] == 0xbe || code[0] == 0xba || code[0] == 0xb9) && !code[2] && !code[3] && !code[4] &&
            (code[1] == NR_exit_group || (code[1] == NR_exit && is_bytes(at - 4, "\x31\xff\x89", 3)))) {
            *site = (struct site){(u32)(code - low), 5, BY_REGISTER, code[1]};
            return code;
        }
    return 0;
}

/* Where a system call can be made that an unwinder can leave (stubs.c): `syscall; ret` of a function that does nothing else, and
 * what stands behind the `syscall` of __restore_rt, to which nothing ever comes back: padding, in each glibc. */
static int is_gate(const u8 *at) { return at[-5] == 0xb8 && !at[-2] && !at[-1] && is_bytes(at, "\x0f\x05\xc3", 3); }
static int is_way_back(const u8 *at) { return is_bytes(at - 9, "\x48\xc7\xc0\x0f\0\0\0\x0f\x05\x0f\x1f\x80\0\0\0\0", 16); }

/* All sites of an executable part. */
void sites_find(u64 start, u64 end, struct table *table) {
    typedef char bytes16 __attribute__((vector_size(16)));
    const bytes16 first = {15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15};
    const u8 *low = (const u8 *)start, *high = (const u8 *)end - 16;
    u32 n = 0, left = 0, gate = 0, way_back = 0;
    for (const u8 *block = low + 64; block < high; block += 16) {
        bytes16 bytes;
        __builtin_memcpy(&bytes, block, 16);
        for (unsigned hits = (unsigned)__builtin_ia32_pmovmskb128(bytes == first); hits; hits &= hits - 1) {
            const u8 *at = block + __builtin_ctz(hits), *code;
            struct site site;
            int is_left = 0;
            if (at[1] != 5) continue;
            if (!gate && is_gate(at)) gate = (u32)(at - low);
            if (!way_back && is_way_back(at + 2)) way_back = (u32)(at + 2 - low);
            code = site_lead(low, at, &site, &is_left);
            if (!code && !is_left) code = number_in_register(low, at, &site);
            if (code && n < MAX_SITES && !(n && table->sites[n - 1].at == site.at)) table->sites[n++] = site;
            else if (is_left || (code && n == MAX_SITES)) left++;
        }
    }
    table->n = n;
    table->left = left;
    table->gate = way_back ? gate : 0;
    table->way_back = gate ? way_back : 0;
}

static int is_site(u64 start, u64 end, const struct site *hint) {
    const u8 *low = (const u8 *)start, *at = low + hint->at + hint->len, *code;
    struct site site;
    int is_left = 0;
    if (hint->at < 64 || start + hint->at + hint->len + 24 > end || at - low < 64) return 0;
    if (hint->form == BY_REGISTER) {
        code = low + hint->at;
        return hint->len == 5 && (code[0] == 0xbe || code[0] == 0xba || code[0] == 0xb9) && (hint->nr == NR_exit || hint->nr == NR_exit_group) &&
               code[1] == hint->nr && !code[2] && !code[3] && !code[4];
    }
    return at[0] == 0x0f && at[1] == 5 && site_lead(low, at, &site, &is_left) == low + hint->at && site.form == hint->form &&
           site.nr == hint->nr && site.len == hint->len;
}

/* Copies the sites that another process has found in the same object, if each is one here as well. */
static struct table *take_known(u64 start, u64 end, const u64 key[3], struct table *mine) {
    for (u32 i = 0; i < MAX_TABLES; i++) {
        struct table *known = me.header->tables + i;
        u32 good = 0;
        if (__atomic_load_n(&known->state, __ATOMIC_ACQUIRE) != 2) continue;
        if (known->key[0] != key[0] || known->key[1] != key[1] || known->key[2] != key[2]) continue;
        copy((char *)mine, (const char *)known, sizeof *mine); /* first: it can be changed while it is looked at */
        if (mine->n > MAX_SITES) continue;
        while (good < mine->n && is_site(start, end, mine->sites + good)) good++;
        for (u32 k = 1; k < mine->n && good == mine->n; k++)
            if (mine->sites[k].at < mine->sites[k - 1].at + 10) good = 0;
        if (mine->gate < 64 || mine->way_back < 64 || start + mine->gate + 24 > end || start + mine->way_back + 24 > end) mine->gate = mine->way_back = 0;
        else if (!is_bytes((const u8 *)start + mine->gate, "\x0f\x05\xc3", 3) || !is_way_back((const u8 *)start + mine->way_back)) good = 0;
        if (good == mine->n) return known;
    }
    return 0;
}
static struct table *leave_known(const struct table *mine) {
    for (u32 i = 0; i < MAX_TABLES; i++) {
        struct table *place = me.header->tables + i;
        u32 none = 0;
        if (place->state || !__atomic_compare_exchange_n(&place->state, &none, 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) continue;
        copy((char *)place->key, (const char *)mine->key, sizeof mine->key);
        place->n = mine->n;
        place->left = mine->left;
        place->gate = mine->gate;
        place->way_back = mine->way_back;
        copy((char *)place->sites, (const char *)mine->sites, sizeof mine->sites);
        __atomic_store_n(&place->state, 2, __ATOMIC_RELEASE);
        return place;
    }
    return 0;
}

static struct {
    const u8 *start, *end;
} loader_stubs;
int sites_are_loaders(const u8 *tail) { return tail >= loader_stubs.start && tail < loader_stubs.end; }

/* Memory for stubs that both the object and our own text can jump to. */
static u8 *room_near(u64 start, u64 bytes) {
    for (u64 i = 1; i < 6; i++) {
        i64 at = syscall6(NR_mmap, page_down(start) - i * 0x100000 - bytes, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (u64)-1, 0);
        if (FAILED(at)) return 0;
        if ((u64)at - start + 0x70000000 < 0xe0000000 && (u64)at - (u64)fsp_stub + 0x70000000 < 0xe0000000) return (u8 *)at;
        syscall3(NR_munmap, at, bytes, 0);
    }
    return 0;
}

#ifndef FSP_REFUSE_EXEC /* a test's: as if a policy refused to make changed text executable again */
#define FSP_REFUSE_EXEC 0
#endif
/* Writes the jumps.
 * Invariant: no page is ever writable and executable. Stubs become executable before any text is touched: where nothing may
 * become so (PR_SET_MDWE, SELinux execmem), nothing is done. Where only changed text may not (execmod), an executable copy
 * takes its place. */
static int write_jumps(u64 start, u64 end, struct table *table, u8 *stubs) {
    u64 page = page_down(start), span = page_up(end) - page;
    if (FAILED(syscall3(NR_mprotect, page, span, PROT_READ | PROT_WRITE))) return 0;
    if (table->way_back) write_jump((u8 *)start + table->way_back, stubs);
    stubs += WAY_BACK_BYTES;
    for (u32 i = 0; i < table->n; i++) {
        u8 *code = (u8 *)start + table->sites[i].at;
        write_jump(code, stubs);
        stubs += stub_bytes(table->sites + i);
    }
    if (!FSP_REFUSE_EXEC && !FAILED(syscall3(NR_mprotect, page, span, PROT_READ | PROT_EXEC))) return 1;
    i64 other = syscall6(NR_mmap, 0, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (u64)-1, 0);
    copy((char *)other, (const char *)page, span);
    syscall3(NR_mprotect, other, span, PROT_READ | PROT_EXEC);
    syscall6(NR_mremap, (u64)other, span, span, MREMAP_MAYMOVE | MREMAP_FIXED, page, 0);
    return 1;
}

/* Rewrites the executable part of an object; returns its table in the ring, if it has a place there. */
struct table *sites_rewrite(u64 start, u64 end, int is_loader) {
    struct table mine, *known;
    u64 bytes = WAY_BACK_BYTES, at;
    u32 n, thread = me.last_tid;
    mine.key[0] = end - start + (u64)is_loader;
    mine.key[1] = *(const u64 *)(start + 4096);
    mine.key[2] = *(const u64 *)(end - 64);
    known = take_known(start, end, mine.key, &mine);
    if (!known) {
        sites_find(start, end, &mine);
        known = leave_known(&mine);
    }
    for (u32 i = 0; i < mine.n; i++) bytes += stub_bytes(mine.sites + i);
    bytes = page_up(bytes);
    u8 *stubs = mine.n ? room_near(start, bytes) : 0, *to = stubs;
    n = 0;
    if (stubs) {
        const u8 *gate = mine.gate ? (const u8 *)start + mine.gate : 0, *way_back = mine.gate ? (const u8 *)start + mine.way_back : 0;
        write_jump(to, (const u8 *)fsp_back);
        to += WAY_BACK_BYTES;
        for (u32 i = 0; i < mine.n; i++) to = stub_write(to, (const u8 *)start + mine.sites[i].at, mine.sites + i, gate, way_back);
        if (!FAILED(syscall3(NR_mprotect, stubs, bytes, PROT_READ | PROT_EXEC)) && write_jumps(start, end, &mine, stubs)) n = mine.n;
        else syscall3(NR_munmap, stubs, bytes, 0);
        if (is_loader && n) loader_stubs.start = stubs, loader_stubs.end = stubs + bytes;
    }
    struct slot *slot = ring_take(1, &at);
    if (slot) {
        u16 numbers[MAX_SITES];
        for (u32 i = 0; i < mine.n; i++) numbers[i] = mine.sites[i].form == BY_ANY ? 0xffff : mine.sites[i].nr;
        slot_begin(slot, OBJECT, thread, now_ns());
        slot->arg[0] = n;
        slot->arg[1] = mine.left + (mine.n - n);
        slot->arg[2] = (u64)is_loader;
        slot->arg[3] = end - start;
        ring_text(slot, at, (const char *const[4]){(const char *)numbers, 0, 0, 0}, (const unsigned[4]){mine.n * 2, 0, 0, 0});
        slot_done(slot);
    }
    return known;
}

/* ---- which objects: those whose system calls are written in the forms above */
static i32 wanted_fd = -1; /* the loader has opened one and not mapped it yet; the loader holds its own lock meanwhile */

int sites_are_wanted(const char *path) {
    static const char names[] = "libc.so.6\0libc-2.\0libpthread.so.0\0libpthread-2.\0librt.so.1\0librt-2.\0liburing.so\0";
    unsigned n = length(path), base = n;
    while (base && path[base - 1] != '/') base--;
    for (const char *name = names; *name; name += length(name) + 1)
        if (starts_with(path + base, name)) return 1;
    return 0;
}
void sites_opened(const char *path, i32 fd) {
    if (sites_are_wanted(path)) wanted_fd = fd;
    else if (fd == wanted_fd) wanted_fd = -1;
}
void sites_mapped(i32 fd, u64 at, u64 bytes, u64 offset) {
    u64 end = at + bytes;
    if (fd != wanted_fd) return;
    wanted_fd = -1;
    if (!offset) { /* the whole image: its executable part alone is code */
        const char *header = (const char *)at + *(const u64 *)(at + 32);
        for (u16 n = *(const u16 *)(at + 56); n; n--, header += 56)
            if (*(const u32 *)header == 1 && *(const u32 *)(header + 4) & 1) {
                u64 from = *(const u64 *)(header + 16);
                end = at + from + *(const u64 *)(header + 32);
                at += from;
                break;
            }
    }
    sites_rewrite(at, end, 0);
}
