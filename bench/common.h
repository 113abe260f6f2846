/* What the generator, the floor and the request client share: clock, histogram, payload, options.
 *
 * Each program is one translation unit that includes this file; nothing is exported. A payload chunk
 * is a stamp (who, which, when) and a pattern that depends only on object and sequence, so that any
 * reader can check any byte with one memcmp and no state.
 */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000LL
#define NS_PER_MS 1000000LL
#define FOREVER INT64_MAX

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(2);
}

static inline int64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * NS_PER_S + at.tv_nsec;
}

static inline double cpu_s(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static void *need(void *memory) {
    if (!memory) die("out of memory");
    return memory;
}

/* ---- histogram: 64 bins an octave (1.6 % wide), memory fixed however long the run ---- */

#define BINS_PER_OCTAVE 64
#define BINS (BINS_PER_OCTAVE * 36)
struct hist {
    uint64_t count, max_ns, bin[BINS];
};

static inline void hist_add(struct hist *hist, int64_t ns) {
    uint64_t value = ns < 0 ? 0 : (uint64_t)ns;
    uint64_t index = value;
    if (value >= BINS_PER_OCTAVE) {
        int shift = 63 - __builtin_clzll(value) - 6;
        index = (uint64_t)(shift + 1) * BINS_PER_OCTAVE + ((value >> shift) & (BINS_PER_OCTAVE - 1));
    }
    hist->bin[index < BINS ? index : BINS - 1]++;
    hist->count++;
    if (value > hist->max_ns) hist->max_ns = value;
}

/* The upper edge of the bin that holds the quantile: never flatters. */
static inline double hist_ms(const struct hist *hist, double quantile) {
    if (!hist->count) return 0;
    uint64_t wanted = (uint64_t)(quantile * (double)(hist->count - 1)) + 1, seen = 0;
    for (uint64_t index = 0; index < BINS; index++) {
        seen += hist->bin[index];
        if (seen < wanted) continue;
        uint64_t edge = index + 1;
        if (index >= BINS_PER_OCTAVE) {
            uint64_t shift = index / BINS_PER_OCTAVE - 1;
            edge = (BINS_PER_OCTAVE + index % BINS_PER_OCTAVE + 1) << shift;
        }
        if (edge > hist->max_ns) edge = hist->max_ns;
        return (double)edge / 1e6;
    }
    return (double)hist->max_ns / 1e6;
}

static inline void hist_print(FILE *out, const char *name, const struct hist *hist) {
    fprintf(out, "\"%s\": {\"count\": %llu, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f}", name,
            (unsigned long long)hist->count, hist_ms(hist, 0.5), hist_ms(hist, 0.99),
            (double)hist->max_ns / 1e6);
}

/* ---- payload ---- */

#define MAGIC 0x43484b31u
#define FRAMES 8 /* the pattern repeats after 8 chunks, so the floor can prebuild all its frames */
struct stamp {
    uint32_t magic, object;
    uint64_t seq, sent_ns;
};
#define STAMP sizeof(struct stamp)

static unsigned char *pattern_bytes;

static inline void pattern_init(size_t chunk_bytes) {
    size_t size = 65536 + chunk_bytes;
    pattern_bytes = need(malloc(size));
    uint32_t state = 12345;
    for (size_t index = 0; index < size; index++) {
        state = state * 1664525u + 1013904223u;
        pattern_bytes[index] = (unsigned char)(state >> 24);
    }
}

/* The expected byte at position `at` of a chunk is pattern_of(...)[at]. */
static inline const unsigned char *pattern_of(uint32_t object, uint64_t seq) {
    return pattern_bytes + ((object * 7919u + (uint32_t)(seq % FRAMES) * 4099u) & 0xffff);
}

/* Stamps a chunk's frame, as it is sent: what building it took isn't the server's time. */
static inline void frame_stamp(unsigned char *frame, uint32_t object, uint64_t seq, int64_t sent_ns) {
    struct stamp stamp = {MAGIC, object, seq, (uint64_t)sent_ns};
    memcpy((char *)memchr(frame, '\n', 20) + 1, &stamp, STAMP);
}

/* Writes one HTTP chunk (size line, stamp, pattern, CRLF); returns its length on the wire. */
static inline size_t frame_build(unsigned char *out, size_t chunk_bytes, uint32_t object, uint64_t seq) {
    size_t line = (size_t)sprintf((char *)out, "%zx\r\n", chunk_bytes);
    frame_stamp(out, object, seq, 0);
    memcpy(out + line + STAMP, pattern_of(object, seq) + STAMP, chunk_bytes - STAMP);
    memcpy(out + line + chunk_bytes, "\r\n", 2);
    return line + chunk_bytes + 2;
}

/* ---- options: --name VALUE ---- */

struct option_row {
    const char *name;
    long long *number; /* exactly one of the two is set */
    const char **text;
};

static void options_read(int argc, char **argv, const struct option_row *rows) {
    for (int index = 1; index < argc; index += 2) {
        const struct option_row *row = rows;
        while (row->name && strcmp(row->name, argv[index])) row++;
        if (!row->name) die("unknown option %s", argv[index]);
        if (index + 1 >= argc) die("option %s needs a value", argv[index]);
        if (row->text) {
            *row->text = argv[index + 1];
            continue;
        }
        char *end;
        *row->number = strtoll(argv[index + 1], &end, 10);
        if (*end || end == argv[index + 1] || *row->number < 0)
            die("option %s takes a whole number >= 0, not %s", row->name, argv[index + 1]);
    }
}

/* ---- sockets ---- */

static void descriptors_raise(long long wanted) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= (rlim_t)wanted) return;
    struct rlimit raised = {(rlim_t)wanted, limit.rlim_max > (rlim_t)wanted ? limit.rlim_max : (rlim_t)wanted};
    if (setrlimit(RLIMIT_NOFILE, &raised))
        die("needs %lld file descriptors, the limit is %lld", wanted, (long long)limit.rlim_max);
}

static struct sockaddr_in address_of(const char *host, long long port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die("%s is not an IPv4 address", host);
    return address;
}

static inline int connect_nowait(const struct sockaddr_in *address) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket: %s", strerror(errno));
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) && errno != EINPROGRESS)
        die("connect: %s", strerror(errno));
    return fd;
}

/* Leaves with RST, as a vanished client does; also keeps TIME_WAIT from eating the ports. */
static inline void reset(int fd) {
    struct linger linger = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}

static void epoll_set(int epoll, int operation, int fd, uint32_t events, uint64_t tag) {
    struct epoll_event event = {.events = events, .data.u64 = tag};
    if (epoll_ctl(epoll, operation, fd, &event)) die("epoll_ctl: %s", strerror(errno));
}

/* Waits to the nanosecond: a millisecond's rounding would show in the 1x1 latencies.
 *
 * For POLL_NS after the last event it asks again without sleeping. Else each send of a server that is a
 * little slower than its client wakes that client up anew, on another core: that can cost more than the
 * send, is charged to the server, and doesn't happen where a network card gathers interrupts. */
enum { POLL_NS = 200000 };

static inline int epoll_until(int epoll, struct epoll_event *events, int room, int64_t deadline_ns) {
    static int64_t polls_until_ns;
    int64_t now = now_ns(), left = now < polls_until_ns ? 0 : deadline_ns - now;
    if (left < 0) left = 0;
    struct timespec wait = {left / NS_PER_S, left % NS_PER_S};
    int count = (int)syscall(SYS_epoll_pwait2, epoll, events, room, &wait, NULL, 0);
    if (count < 0 && errno != EINTR) die("epoll_pwait2: %s", strerror(errno));
    if (count > 0) polls_until_ns = now_ns() + POLL_NS;
    return count < 0 ? 0 : count;
}

/* A harness that is killed outright takes its programs with it. */
static void die_with_parent(void) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
}

#endif
