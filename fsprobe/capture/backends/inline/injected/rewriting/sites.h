/* The system call sites of an object. */
#ifndef FSP_SITES_H
#define FSP_SITES_H
#include "calls.h"
#pragma GCC visibility push(hidden)

unsigned plain_length(const u8 *code);
const u8 *site_lead(const u8 *low, const u8 *at, struct site *site, int *is_left);
void sites_find(u64 start, u64 end, struct table *table);
struct table *sites_rewrite(u64 start, u64 end, int is_loader);
void sites_opened(const char *path, i32 fd);
void sites_mapped(i32 fd, u64 at, u64 bytes, u64 offset);
int sites_are_wanted(const char *path);
int sites_are_loaders(const u8 *tail);

u8 *stub_write(u8 *to, const u8 *code, const struct site *site, const u8 *gate, const u8 *way_back);
#define WAY_BACK_BYTES 8u /* before an object's stubs: a jump to fsp_back */
u8 *write_jump(u8 *to, const u8 *target);
unsigned stub_bytes(const struct site *site);
extern char fsp_stub[], fsp_back[];
i64 fsp_through(const struct registers *regs, const u8 *gate, const u8 *way_back, const u8 *site_end);
#pragma GCC visibility pop
#endif
