/* A second libc in a namespace of its own, and objects that come and go. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

int main(void) {
    void *other = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
    if (!other) return puts(dlerror()), 1;
    int (*opens)(const char *, int) = (int (*)(const char *, int))dlsym(other, "open");
    printf("%d\n", opens("/etc/hosts", 0) > 2);
    for (int i = 0; i < 5; i++) dlclose(dlopen("libz.so.1", RTLD_NOW));
    dlclose(other);
}
