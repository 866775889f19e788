/* Prints the sites that sites.c finds in an ELF file: address, number (-1: any), form, length; gate and way back; what is left. */
#include "sites.h"
#include "calls.h"
#undef PAGE
#include <stdio.h>
#include <stdlib.h>

__attribute__((visibility("hidden"))) struct process me;
char fsp_stub[16], fsp_back[16];
u8 *stub_write(u8 *to, const u8 *code, const struct site *site, const u8 *g, const u8 *w) { (void)code, (void)site, (void)g, (void)w; return to; }
u8 *write_jump(u8 *to, const u8 *target) { (void)target; return to; }
unsigned stub_bytes(const struct site *site) { return site->len; }
void ring_text(struct slot *s, u64 at, const char *const t[4], const unsigned l[4]) { (void)s, (void)at, (void)t, (void)l; }
int ring_grows(u64 n) { return n == 0; }
u64 clock_slow(void) { return 0; }

int main(int argc, char **argv) {
    FILE *file = fopen(argv[argc - 1], "rb");
    fseek(file, 0, 2);
    long n = ftell(file);
    rewind(file);
    char *image = calloc(1, (size_t)n + 64);
    if (fread(image, 1, (size_t)n, file) != (size_t)n) return 1;
    char *header = image + *(u64 *)(image + 32);
    for (u16 k = *(u16 *)(image + 56); k; k--, header += 56) {
        if (*(u32 *)header != 1 || !(*(u32 *)(header + 4) & 1)) continue;
        u64 offset = *(u64 *)(header + 8), address = *(u64 *)(header + 16), bytes = *(u64 *)(header + 32);
        struct table table;
        sites_find((u64)image + offset, (u64)image + offset + bytes, &table);
        for (u32 i = 0; i < table.n; i++)
            printf("site %lx %d %d %d\n", (long)(address + table.sites[i].at), table.sites[i].form == BY_ANY ? -1 : table.sites[i].nr, table.sites[i].form, table.sites[i].len);
        for (const u8 *at = (u8 *)image + offset + 64; at < (u8 *)image + offset + bytes - 16; at++) {
            struct site site;
            int left = 0;
            if (at[0] == 15 && at[1] == 5 && !site_lead((u8 *)image + offset, at, &site, &left) && left) printf("left %lx\n", (long)((u64)at - (u64)image - offset + address));
        }
        if (table.gate) printf("gate %lx %lx\n", (long)(address + table.gate), (long)(address + table.way_back));
        printf("count %u %u\n", table.n, table.left);
    }
}
