/* The floor of fan-out: an epoll loop that sends prebuilt frames with raw send() and does nothing else.
 *
 * No ingest, no HTTP beyond swallowing a GET's head and answering with a fixed one. One timerfd an
 * object paces it; the time is stamped into the frame as it is sent, so latency compares with a real
 * server's. A reader joins at the next frame (there is no backlog) and starts at its sequence number.
 * Socket options are the defaults, but for being non-blocking. A short send is finished on EPOLLOUT; a
 * reader FRAMES - 1 frames behind is closed and counted.
 */
#include "common.h"
#include <sys/timerfd.h>

enum { TAG_LISTENER = 1, TAG_OBJECT, TAG_READER };
#define TAG(kind, index) ((uint64_t)(kind) << 32 | (uint32_t)(index))

static const char HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: video/iso.segment\r\nCache-Control: no-store\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";

struct reader {
    int fd, object; /* object -1: its head hasn't come yet */
    size_t head_bytes, position; /* where it stands in frame `seq` */
    uint64_t seq;                /* the next frame it is owed */
    bool waits;                  /* for EPOLLOUT */
    char head[2048];
};
struct object {
    int timer;
    uint64_t seq; /* the next frame to come */
    size_t frame_bytes, reader_count, room;
    unsigned char *frame[FRAMES];
    int *readers;
};

static long long object_count = 32, chunk_bytes = 32768, rate = 8, max_readers = 16384;
static const char *host = "127.0.0.1";
static struct object *objects;
static struct reader *readers;
static int *free_readers, free_count, epoll, listener;
static unsigned long long dropped;
static volatile sig_atomic_t stopping;

static void on_signal(int number) {
    (void)number;
    stopping = 1;
}

static void drop(int index) {
    struct reader *reader = &readers[index];
    close(reader->fd);
    reader->fd = -1;
    if (reader->object >= 0) {
        struct object *object = &objects[reader->object];
        for (size_t at = 0; at < object->reader_count; at++)
            if (object->readers[at] == index) {
                object->readers[at] = object->readers[--object->reader_count];
                break;
            }
    }
    free_readers[free_count++] = index;
}

/* Sends what the reader is owed; false when it had to be dropped. */
static bool push(int index) {
    struct reader *reader = &readers[index];
    struct object *object = &objects[reader->object];
    while (reader->seq < object->seq) {
        if (object->seq - reader->seq >= FRAMES) {
            dropped++;
            drop(index);
            return false;
        }
        unsigned char *frame = object->frame[reader->seq % FRAMES];
        ssize_t sent = send(reader->fd, frame + reader->position, object->frame_bytes - reader->position, 0);
        if (sent < 0 && errno != EAGAIN) {
            drop(index);
            return false;
        }
        if (sent > 0) reader->position += (size_t)sent;
        if (reader->position < object->frame_bytes) {
            if (!reader->waits)
                epoll_set(epoll, EPOLL_CTL_MOD, reader->fd, EPOLLIN | EPOLLOUT, TAG(TAG_READER, index));
            reader->waits = true;
            return true;
        }
        reader->position = 0;
        reader->seq++;
    }
    if (reader->waits) epoll_set(epoll, EPOLL_CTL_MOD, reader->fd, EPOLLIN, TAG(TAG_READER, index));
    reader->waits = false;
    return true;
}

static void tick(struct object *object) {
    uint64_t ticks;
    if (read(object->timer, &ticks, sizeof ticks) != sizeof ticks) return;
    while (ticks--) {
        struct stamp *stamp = (struct stamp *)(object->frame[object->seq % FRAMES] +
                                               (object->frame_bytes - (size_t)chunk_bytes - 2));
        struct stamp fresh = {MAGIC, (uint32_t)(object - objects), object->seq, (uint64_t)now_ns()};
        memcpy(stamp, &fresh, STAMP);
        object->seq++;
        for (size_t at = 0; at < object->reader_count;) {
            int index = object->readers[at];
            if (readers[index].waits || push(index)) at++; /* a dropped one was replaced by the last */
        }
    }
}

static void join(int index) {
    struct reader *reader = &readers[index];
    ssize_t got = recv(reader->fd, reader->head + reader->head_bytes,
                       sizeof reader->head - 1 - reader->head_bytes, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) drop(index);
        return;
    }
    if (reader->object >= 0) { /* a reader at the edge has nothing to say */
        reader->head_bytes = 0;
        return;
    }
    reader->head_bytes += (size_t)got;
    reader->head[reader->head_bytes] = 0;
    if (!strstr(reader->head, "\r\n\r\n")) {
        if (reader->head_bytes == sizeof reader->head - 1) drop(index);
        return;
    }
    const char *digits = strpbrk(reader->head, "0123456789");
    struct object *object = &objects[strtoul(digits ? digits : "0", NULL, 10) % (unsigned long)object_count];
    reader->object = (int)(object - objects);
    reader->head_bytes = reader->position = 0;
    reader->seq = object->seq;
    if (send(reader->fd, HEAD, sizeof HEAD - 1, 0) != sizeof HEAD - 1) {
        reader->object = -1;
        drop(index);
        return;
    }
    if (object->reader_count == object->room)
        object->readers = need(realloc(object->readers, sizeof(int) * (object->room = object->room * 2 + 64)));
    object->readers[object->reader_count++] = index;
}

static void admit(void) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        if (!free_count) {
            close(fd);
            continue;
        }
        int index = free_readers[--free_count];
        readers[index] = (struct reader){.fd = fd, .object = -1};
        epoll_set(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, TAG(TAG_READER, index));
    }
}

static void listen_and_say(void) {
    struct sockaddr_in address = address_of(host, 0);
    socklen_t size = sizeof address;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096))
        die("listen: %s", strerror(errno));
    getsockname(listener, (struct sockaddr *)&address, &size);
    epoll_set(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, TAG(TAG_LISTENER, 0));
    fprintf(stderr, "listening on http://%s:%d\n", host, ntohs(address.sin_port));
}

static void objects_make(void) {
    objects = need(calloc((size_t)object_count, sizeof *objects));
    int64_t period_ns = NS_PER_S / rate, start_ns = now_ns() + period_ns;
    for (int index = 0; index < object_count; index++) {
        struct object *object = &objects[index];
        for (int frame = 0; frame < FRAMES; frame++) {
            object->frame[frame] = need(malloc((size_t)chunk_bytes + 32));
            object->frame_bytes =
                frame_build(object->frame[frame], (size_t)chunk_bytes, (uint32_t)index, (uint64_t)frame);
        }
        /* Spread over the period as the generator spreads its writers. */
        int64_t first_ns = start_ns + period_ns * index / object_count;
        struct itimerspec spec = {{period_ns / NS_PER_S, period_ns % NS_PER_S},
                                  {first_ns / NS_PER_S, first_ns % NS_PER_S}};
        object->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (object->timer < 0 || timerfd_settime(object->timer, TFD_TIMER_ABSTIME, &spec, NULL))
            die("timerfd: %s", strerror(errno));
        epoll_set(epoll, EPOLL_CTL_ADD, object->timer, EPOLLIN, TAG(TAG_OBJECT, index));
    }
}

int main(int argc, char **argv) {
    const struct option_row rows[] = {{"--host", NULL, &host},         {"--objects", &object_count, NULL},
                                      {"--chunk", &chunk_bytes, NULL}, {"--rate", &rate, NULL},
                                      {"--readers", &max_readers, NULL}, {NULL, NULL, NULL}};
    options_read(argc, argv, rows);
    if (!object_count || !rate || chunk_bytes < (long long)STAMP + 8) die("objects, rate or chunk too small");
    die_with_parent();
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    descriptors_raise(max_readers + object_count + 64);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    pattern_init((size_t)chunk_bytes);
    readers = need(calloc((size_t)max_readers, sizeof *readers));
    free_readers = need(calloc((size_t)max_readers, sizeof *free_readers));
    while (free_count < max_readers) {
        free_readers[free_count] = (int)max_readers - 1 - free_count;
        free_count++;
    }
    objects_make();
    listen_and_say();
    struct epoll_event events[256];
    while (!stopping) {
        int count = epoll_wait(epoll, events, 256, -1);
        for (int at = 0; at < count; at++) {
            int index = (int)(uint32_t)events[at].data.u64;
            switch (events[at].data.u64 >> 32) {
            case TAG_LISTENER: admit(); break;
            case TAG_OBJECT: tick(&objects[index]); break;
            default:
                if (readers[index].fd < 0) break; /* dropped earlier in this batch */
                if (events[at].events & ~(uint32_t)EPOLLOUT) join(index);
                if (readers[index].fd >= 0 && readers[index].waits) push(index);
            }
        }
    }
    fprintf(stderr, "dropped %llu readers\n", dropped);
    return 0;
}
