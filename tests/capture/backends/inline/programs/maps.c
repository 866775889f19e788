/* Whether any memory is writable and executable, now and after an object was loaded; and which objects there are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

static int object(struct dl_phdr_info *info, size_t size, void *unused) {
    printf("object %s\n", info->dlpi_name);
    return 0;
}
int main(void) {
    char line[4096];
    dlopen("libz.so.1", RTLD_NOW);
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) {
        char *rights = strchr(line, ' ');
        if (rights && rights[2] == 'w' && rights[3] == 'x') printf("writable and executable: %s", line);
    }
    dl_iterate_phdr(object, 0);
}
