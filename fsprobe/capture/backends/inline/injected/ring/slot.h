/* The ring's layout. Written once, here; fsprobe/events/ring/slots.py mirrors it, and a test compares the two.
 *
 * The ring is a file that all recorded processes map shared: a header of HEADER_BYTES, then slots of SLOT_BYTES. A slot is
 * taken by one fetch_add on `next` before the call is made and finished after it, so slots stand in the order in which calls
 * began, and a call that never returns is there too.
 *
 *   offset  size  field         of a CALL                     of other kinds
 *        0     1  magic         SLOT_MAGIC once begun
 *        1     1  state         BEGUN, DONE
 *        2     1  kind          CALL ...                      see enum kind
 *        3     1  has           HAS_...                       TEXT: slots in a row that its text fills
 *        4     4  tid           who (0: not known)
 *        8     8  t_ns          start, CLOCK_MONOTONIC
 *       16     8  dur_ns        from before the call to after it
 *       24     8  result        as the kernel gave it
 *       32    32  arg[4]        the call's first arguments    NEWTID, START, MARK, OBJECT: see there
 *                               fchownat's and name_to_handle_at's fourth: their flags;
 *                               an open's fourth: two uint32, when after it the first read began and the last ended,
 *                               in 2^SPAN_SHIFT ns and 1 more; 0: never
 *       64     8  size          st_size; an open's: of fstat
 *       72     2  mode          st_mode; an open's: of fstat
 *       74     2  n4            length of the second base
 *       76     4  n_entries     of a getdents
 *       80     2  nr            number of the system call
 *       82     2  n1            length of the path
 *       84     2  n2            length of the second text: second path, link target, resolved path of an open, argv
 *       86     2  n3            length of the base: the directory that a relative path starts from
 *       88     4  text_at       with HAS_LONG: index of the TEXT slot that holds all four
 *       92     4  n_reads       of an open, START or NEWTID: what was read through it (see reads.c)
 *       96     8  read_bytes
 *      104     8  read_ns
 *      112     4  n_maps
 *      116     4  n_fstats
 *      120     8  map_bytes
 *      128     8  map_ns
 *      136   120  text          path, second, base, second base, without separators
 */
#ifndef FSP_SLOT_H
#define FSP_SLOT_H
#include <stdint.h>

#define RING_MAGIC 0x31474e4952505346ull /* "FSPRING1" */
#define RING_VERSION 1u
#define HEADER_BYTES 32768u
#define SLOT_BYTES 256u
#define SLOT_MAGIC 0xF5u
#define TEXT_BYTES 120u
#define SPAN_SHIFT 14u
#define LONG_TEXT_AT 16u /* a TEXT slot's own text begins here and runs over all its slots */

enum kind {
    CALL = 0,
    NEWTID = 1, /* first call of a thread. arg: pid, ppid, slot + 1 of the clone that made this process, thread pointer */
    START = 2,  /* a program was entered. arg: pid, ppid, 0 by the loader or 1 by LD_PRELOAD, euid. Text: AT_EXECFN, argv, cwd */
    TEXT = 3,   /* text too long for its slot; `has` slots in a row */
    OBJECT = 4, /* an object was rewritten. arg: sites, sites left, is the loader, executable bytes. Text: numbers, uint16 */
    MARK = 5    /* a hook's note. arg: CPU ns, major faults, voluntary switches, minor faults (all of the thread). Text: it */
};
enum state { BEGUN = 1, DONE = 2 };
enum has {
    HAS_SECOND = 1,    /* n2 counts */
    HAS_SAME = 2,      /* an open's resolved path is the path as it was asked for */
    HAS_BASE = 4,      /* n3 counts */
    HAS_LONG = 8,      /* the text is elsewhere: text_at */
    HAS_CUT = 16,      /* there was no room for the text */
    HAS_BASE_2 = 32,   /* n4 counts */
    HAS_NO_USAGE = 64, /* MARK: in a sandbox, its arg is not known */
    HAS_HANDED_ON = 128 /* an exec whose environment enters by LD_PRELOAD instead of LD_AUDIT */
};

struct slot {
    uint8_t magic, state, kind, has;
    uint32_t tid;
    uint64_t t_ns, dur_ns;
    int64_t result;
    uint64_t arg[4];
    uint64_t size;
    uint16_t mode, n4;
    uint32_t n_entries;
    uint16_t nr, n1, n2, n3;
    uint32_t text_at, n_reads;
    uint64_t read_bytes, read_ns;
    uint32_t n_maps, n_fstats;
    uint64_t map_bytes, map_ns;
    char text[TEXT_BYTES];
};
#define NO_OWNER UINT64_MAX
struct long_text {
    uint8_t magic, state, kind, n_slots;
    uint32_t tid;
    uint64_t owner; /* index of the slot whose text this is; NO_OWNER where that one was not taken yet */
    char text[SLOT_BYTES - LONG_TEXT_AT];
};

/* Where a system call site of an object lies: found by the first process that maps the object, kept for the others. */
enum form { BY_MOV = 0, BY_XOR = 1, BY_ANY = 2, BY_REGISTER = 3 }; /* see sites.c */
struct site {
    uint32_t at; /* from the start of the executable part: what is replaced by a jump */
    uint8_t len; /* from there to the `syscall` */
    uint8_t form;
    uint16_t nr;
};
#define MAX_SITES 256u
#define MAX_TABLES 12u
struct table {
    uint64_t key[3];
    uint32_t state, n, left, may_leave;
    uint32_t gate, way_back; /* from the start of the executable part; 0: it has none. See stubs.c */
    struct site sites[MAX_SITES];
};

/* `cap` slots have pages that the recorder has allocated: what lies behind would be a SIGBUS in a full tmpfs. The recorder
 * raises it up to `max`, for which address space is mapped. `next` goes on counting past it: what was lost is known. Below
 * `drained` nothing is written any more: the recorder may give those pages back. */
struct header {
    uint64_t magic;
    uint32_t version, slot_bytes;
    uint64_t cap, max, drained;
    uint64_t filters; /* seccomp's, of the first program of the run: their number + 1; see ring.c */
    uint64_t stays; /* not 0: `cap` is not raised soon, so nobody waits for it; see ring.c */
    uint64_t unused;
    uint64_t next; /* on a cache line of its own */
    uint64_t unused_2[7];
    struct table tables[MAX_TABLES];
};
_Static_assert(sizeof(struct slot) == SLOT_BYTES && sizeof(struct long_text) == SLOT_BYTES, "slot");
_Static_assert(sizeof(struct header) <= HEADER_BYTES, "header");
#endif
