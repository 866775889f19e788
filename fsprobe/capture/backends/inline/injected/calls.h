/* Which system calls are of interest, and which of their arguments name files. */
#ifndef FSP_CALLS_H
#define FSP_CALLS_H
#include "ring.h"
#pragma GCC visibility push(hidden)

/* A call's shape: where its path stands (1-6, 0: it has none), the descriptor that a relative one starts from (1-6, 0: the
 * working directory), and the same for a second path. */
#define SHAPE(path, directory) ((path) | (directory) << 3)
#define SHAPE_2(path, directory, second, directory_2) (SHAPE(path, directory) | (second) << 6 | (directory_2) << 9)
#define FOLLOWED 0x4000u /* changes or uses descriptors, or makes processes: followed.c; it gets no slot, or one of its own */
#define NO_PATH 0x8000u  /* gets a slot although it names no file */
#define PATH_OF(shape) ((shape) & 7u)
#define DIRECTORY_OF(shape) ((shape) >> 3 & 7u)
#define SECOND_OF(shape) ((shape) >> 6 & 7u)
#define DIRECTORY_2_OF(shape) ((shape) >> 9 & 7u)
extern const u16 shapes[N_CALLS];

struct registers { /* as the stub has pushed them */
    u64 nr, arg[6];
    const u8 *tail; /* of the site, see stubs.c */
    u64 rbp, rbx, r12, r13, r14, r15, rsp;
};

int fsp_call(struct registers *regs, i64 *result);
i64 call_through(const struct registers *regs);
int call_followed(struct registers *regs, i64 *result);
int call_exec(struct registers *regs, i64 *result);
int mark_taken(const struct registers *regs, i64 *result);
void fstat_seen(i32 fd, i64 status_at, int is_statx);
void opened(u32 tid, i64 fd, u64 slot);

#define VFORKED 0x80000000u /* in a thread's number: it runs in its parent's memory */
#define TID(thread) ((thread) & ~VFORKED)
#define NO_TID VFORKED                 /* the place of a thread that is gone */
u32 thread_seen(void);
void thread_forget(u32 tid);

/* Directories and resolved paths: into a buffer of the caller (the stack may be a signal's, of 2 KiB). */
#define SMALL 256u
unsigned path_of_descriptor(i32 fd, u32 tid, u64 owner, char **to);

enum { MARK_MODE = 0x46535021 }; /* access(2)'s mode for a mark: "FSP!" */

/* Memory of the program that no call has read yet. */
int is_readable(const void *at, u64 *known_page);
i32 readable_length(const char *text, unsigned most, u64 *known_page);
#pragma GCC visibility pop
#endif
