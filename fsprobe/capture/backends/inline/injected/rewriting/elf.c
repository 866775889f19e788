/* Images in memory, read by hand: an audit module sees no symbols but its own.
 * Source: the System V ABI's ELF64 structures; offsets are written out, since <elf.h> would be its only use. */
#include "elf.h"

enum { PT_LOAD = 1, PT_DYNAMIC = 2, DT_HASH = 4, DT_STRTAB = 5, DT_SYMTAB = 6, DT_DEBUG = 21, PF_X = 1, PF_W = 2 };
struct segment {
    u32 type, flags;
    u64 offset, address, physical, file_bytes, bytes, align;
};
static const struct segment *segments(const char *image, u16 *n) {
    *n = *(const u16 *)(image + 56);
    return (const struct segment *)(image + *(const u64 *)(image + 32));
}

u64 auxiliary(char *const *env, u64 type) {
    while (*env) env++;
    for (const u64 *entry = (const u64 *)(env + 1); *entry; entry += 2)
        if (*entry == type) return entry[1];
    return 0;
}

void *elf_symbol(const char *image, const char *name) {
    u16 n;
    const struct segment *segment = segments(image, &n), *dynamic = 0;
    const char *strings = 0, *symbols = 0;
    const u32 *hash = 0;
    u64 base = 0;
    int is_first = 1;
    for (; n; n--, segment++) {
        if (segment->type == PT_LOAD && is_first) base = (u64)image - segment->offset + segment->address, is_first = 0;
        if (segment->type == PT_DYNAMIC) dynamic = segment;
    }
    if (!dynamic) return 0;
    for (const u64 *entry = (const u64 *)(base + dynamic->address); entry[0]; entry += 2) {
        /* the loader has added its base to these, the kernel has not to the vDSO's */
        const char *at = (const char *)(entry[1] < (u64)image ? base + entry[1] : entry[1]);
        if (entry[0] == DT_STRTAB) strings = at;
        if (entry[0] == DT_SYMTAB) symbols = at;
        if (entry[0] == DT_HASH) hash = (const u32 *)at;
    }
    if (!symbols || !strings) return 0;
    /* newer vDSOs have DT_GNU_HASH alone: there the symbols end where the strings begin */
    for (u32 i = 0, count = hash ? hash[1] : (u32)(strings - symbols) / 24; i < count; i++) {
        const char *a = strings + *(const u32 *)(symbols + i * 24), *b = name;
        while (*b && *a == *b) a++, b++;
        if (!*a && !*b) return (void *)(base + *(const u64 *)(symbols + i * 24 + 8));
    }
    return 0;
}

/* The executable part of an image whose base is its ELF header. */
int elf_text(const char *image, u64 *start, u64 *end) {
    u16 n;
    for (const struct segment *segment = segments(image, &n); n; n--, segment++)
        if (segment->type == PT_LOAD && segment->flags & PF_X) {
            *start = (u64)image + segment->address;
            *end = *start + segment->file_bytes;
            return segment->file_bytes > 8192;
        }
    return 0;
}

/* Whether a text stands in an image's read-only parts; its first 8 bytes are compared at once. */
int elf_has_text(const char *image, const char *text, unsigned length_) {
    u16 n;
    u64 first;
    __builtin_memcpy(&first, text, 8);
    for (const struct segment *segment = segments(image, &n); n; n--, segment++) {
        if (segment->type != PT_LOAD || segment->flags & PF_W) continue;
        const char *at = image + segment->address, *end = at + segment->file_bytes - length_;
        for (; at < end; at++) {
            u64 here;
            __builtin_memcpy(&here, at, 8);
            if (here == first && is_bytes((const u8 *)at, text, (int)length_)) return 1;
        }
    }
    return 0;
}

/* The loader's list of objects, and where itself lies, by the program's own DT_DEBUG. AT_BASE does not say it where the loader
 * was started as a program. */
struct link_map *elf_objects(char *const *env, u64 *loader) {
    const struct segment *program = (const struct segment *)auxiliary(env, AT_PHDR), *segment;
    u64 n = auxiliary(env, 5), base = 0, i; /* AT_PHNUM */
    if (!program) return 0;
    for (segment = program, i = 0; i < n; i++, segment++)
        if (segment->type == 6) base = (u64)program - segment->address; /* PT_PHDR */
    for (segment = program, i = 0; i < n; i++, segment++) {
        if (segment->type != PT_DYNAMIC) continue;
        for (const u64 *entry = (const u64 *)(base + segment->address); entry[0]; entry += 2)
            if (entry[0] == DT_DEBUG && entry[1]) { /* struct r_debug */
                if (loader) *loader = *(const u64 *)(entry[1] + 32);
                return *(struct link_map **)(entry[1] + 8);
            }
    }
    return 0;
}
