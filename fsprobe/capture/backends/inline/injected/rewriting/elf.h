/* Images in memory: symbols of the loader and of the vDSO, objects that are mapped already. */
#ifndef FSP_ELF_H
#define FSP_ELF_H
#include "kernel.h"
#pragma GCC visibility push(hidden)
enum { AT_PHDR = 3, AT_SECURE = 23, AT_EXECFN = 31, AT_SYSINFO_EHDR = 33 };
u64 auxiliary(char *const *env, u64 type);
void *elf_symbol(const char *image, const char *name);
int elf_text(const char *image, u64 *start, u64 *end);
int elf_has_text(const char *image, const char *text, unsigned n);
struct link_map {
    u64 base;
    const char *name;
    const u64 *dynamic;
    struct link_map *next;
};
struct link_map *elf_objects(char *const *env, u64 *loader);
#pragma GCC visibility pop
#endif
