/* Raw readers of a live stream's segments: each asks for one number after the other, for as long as
 * it runs, on a connection that it keeps.
 *
 * They stand beside a real player, on the same cores, so they do as little as they can: they measure no
 * time, they read in rounds of a few milliseconds and not at each chunk, and content is discarded in the
 * kernel. What is checked is what tells whether a segment came whole: its framing, and that its length
 * is that which all the others got. A 404 is counted and asked again.
 *
 * Runs until its standard input ends, then prints one JSON object.
 */
#include "common.h"

#define BATCH 256
#define NUMBERS 256 /* whose lengths are remembered; who is further behind isn't compared */
#define LINE 1024
#define ROUND_NS (4 * NS_PER_MS)
#define RETRY_NS (100 * NS_PER_MS)
#define STDIN UINT32_MAX

enum state { CONNECTING, PAUSED, HEAD, SIZE, DATA, DATA_END, LAST };
struct reader {
    int fd;
    enum state state;
    bool is_sized;
    long long number;
    uint64_t left, length; /* of the chunk or body; of the body up to now */
    int64_t due_ns;
    size_t line_bytes;
    char line[LINE];
};

static struct {
    long long port, readers, first, digits;
    const char *host, *prefix, *suffix; /* of a segment's path, around its number */
} option = {.host = "127.0.0.1", .prefix = "/live/", .suffix = ".m4s", .readers = 500, .digits = 1};
static struct {
    uint64_t segments, bytes, cut, wrong_length, wrong_frames, status[1000];
} total;
static struct {
    long long number;
    uint64_t length;
} known[NUMBERS];
static struct reader *readers;
static struct sockaddr_in server;
static int epoll;
static bool is_over;

static void reader_connect(struct reader *reader) {
    reader->fd = connect_nowait(&server);
    reader->state = CONNECTING;
    epoll_set(epoll, EPOLL_CTL_ADD, reader->fd, EPOLLOUT, (uint64_t)(reader - readers));
}

static void reader_ask(struct reader *reader) {
    char head[512];
    int size = snprintf(head, sizeof head, "GET %s%0*lld%s HTTP/1.1\r\nHost: %s:%lld\r\n\r\n", option.prefix,
                        (int)option.digits, reader->number, option.suffix, option.host, option.port);
    if (size >= (int)sizeof head) die("a path is too long");
    if (reader->state == CONNECTING)
        epoll_set(epoll, EPOLL_CTL_MOD, reader->fd, EPOLLIN, (uint64_t)(reader - readers));
    reader->state = HEAD;
    reader->is_sized = false;
    reader->length = reader->left = reader->line_bytes = 0;
    if (send(reader->fd, head, (size_t)size, 0) != size) return; /* the error shows up when it is read */
}

/* Asks again after a pause, over another connection. */
static void reader_pause(struct reader *reader) {
    reset(reader->fd);
    reader->fd = -1;
    reader->state = PAUSED;
    reader->due_ns = now_ns() + RETRY_NS;
}

/* The connection ended where it shouldn't have: the segment is lost to this reader, the next isn't. */
static void reader_cut(struct reader *reader) {
    total.cut++;
    reader->number += reader->state > HEAD;
    reader_pause(reader);
}

static void segment_whole(struct reader *reader) {
    long long slot = reader->number % NUMBERS;
    if (known[slot].number != reader->number) {
        known[slot].number = reader->number;
        known[slot].length = reader->length;
    } else if (known[slot].length != reader->length) {
        total.wrong_length++;
    }
    total.segments++;
    reader->number++;
    reader_ask(reader);
}

static void head_whole(struct reader *reader) {
    int status = atoi(reader->line + 9);
    total.status[status > 0 && status < 1000 ? status : 0]++;
    const char *length = strcasestr(reader->line, "\r\nContent-Length:");
    reader->is_sized = length != NULL;
    if (length) reader->left = strtoull(length + 17, NULL, 10);
    if (status == 200) {
        reader->state = length ? DATA : SIZE;
        if (length && !reader->left) segment_whole(reader);
        return;
    }
    reader_pause(reader); /* what an error says isn't read */
}

static void line_whole(struct reader *reader) {
    char *end;
    switch (reader->state) {
    case HEAD: head_whole(reader); break;
    case SIZE:
        reader->left = strtoull(reader->line, &end, 16);
        if (end == reader->line || (*end != '\r' && *end != ';')) total.wrong_frames++;
        reader->state = reader->left ? DATA : LAST;
        break;
    case DATA_END:
        if (strcmp(reader->line, "\r\n")) total.wrong_frames++;
        reader->state = SIZE;
        break;
    default: segment_whole(reader);
    }
}

/* Takes bytes up to the end of the line (or the head) that it is at; how many. */
static size_t line_feed(struct reader *reader, const char *bytes, size_t size) {
    const char *end = reader->state == HEAD ? "\r\n\r\n" : "\r\n";
    size_t end_bytes = strlen(end);
    for (size_t at = 0; at < size; at++) {
        if (reader->line_bytes == LINE - 1) reader->line_bytes = LINE / 2; /* keep the start */
        reader->line[reader->line_bytes++] = bytes[at];
        if (reader->line_bytes < end_bytes ||
            memcmp(reader->line + reader->line_bytes - end_bytes, end, end_bytes))
            continue;
        reader->line[reader->line_bytes] = 0;
        reader->line_bytes = 0;
        line_whole(reader);
        return at + 1;
    }
    return size;
}

static void data_took(struct reader *reader, size_t size) {
    total.bytes += size;
    reader->length += size;
    if (reader->left -= size) return;
    if (reader->is_sized) segment_whole(reader);
    else reader->state = DATA_END;
}

/* Reads what has come. Nothing follows the end of an answer, since nothing was asked ahead. */
static void reader_ready(struct reader *reader) {
    static char scratch[65536];
    while (reader->fd >= 0) {
        bool is_bulk = reader->state == DATA && reader->left > 512;
        size_t room = is_bulk ? (size_t)reader->left : 512;
        ssize_t got = recv(reader->fd, scratch, room, is_bulk ? MSG_TRUNC : 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) {
            reader_cut(reader);
            return;
        }
        for (size_t at = 0; at < (size_t)got && reader->fd >= 0;) {
            size_t size = (size_t)got - at;
            if (reader->state != DATA) {
                at += line_feed(reader, scratch + at, size);
                continue;
            }
            if (size > reader->left) size = (size_t)reader->left;
            data_took(reader, size);
            at += size;
        }
        if ((size_t)got < room) return;
    }
}

static void pauses_end(int64_t now) {
    for (long long index = 0; index < option.readers; index++)
        if (readers[index].state == PAUSED && readers[index].due_ns <= now) reader_connect(&readers[index]);
}

static void loop(void) {
    struct epoll_event events[BATCH];
    while (!is_over) {
        int64_t began = now_ns();
        int count;
        do {
            count = epoll_until(epoll, events, BATCH, began);
            for (int at = 0; at < count; at++) {
                if (events[at].data.u64 == STDIN) {
                    char byte;
                    is_over = read(0, &byte, 1) <= 0;
                    continue;
                }
                struct reader *reader = &readers[events[at].data.u64];
                if (reader->state == CONNECTING && !(events[at].events & EPOLLERR)) reader_ask(reader);
                else reader_ready(reader);
            }
        } while (count == BATCH);
        pauses_end(began);
        int64_t left = began + ROUND_NS - now_ns();
        struct timespec pause = {0, left > 0 ? left : 0};
        nanosleep(&pause, NULL);
    }
}

int main(int argc, char **argv) {
    const struct option_row rows[] = {
        {"--host", NULL, &option.host},
        {"--port", &option.port, NULL},
        {"--prefix", NULL, &option.prefix},
        {"--suffix", NULL, &option.suffix},
        {"--digits", &option.digits, NULL}, /* of a number, with zeros in front */
        {"--readers", &option.readers, NULL},
        {"--first", &option.first, NULL},
        {NULL, NULL, NULL}};
    die_with_parent();
    options_read(argc, argv, rows);
    if (!option.port || !option.readers) die("port and readers must be at least 1");
    descriptors_raise(option.readers + 64);
    server = address_of(option.host, option.port);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_set(epoll, EPOLL_CTL_ADD, 0, EPOLLIN, STDIN);
    readers = need(calloc((size_t)option.readers, sizeof *readers));
    for (long long index = 0; index < option.readers; index++) {
        readers[index].number = option.first;
        reader_connect(&readers[index]);
    }
    loop();
    printf("{\"segments\": %llu, \"bytes\": %llu, \"cut\": %llu, \"wrong_length\": %llu, "
           "\"wrong_frames\": %llu, \"cpu_s\": %.3f, \"statuses\": {",
           (unsigned long long)total.segments, (unsigned long long)total.bytes, (unsigned long long)total.cut,
           (unsigned long long)total.wrong_length, (unsigned long long)total.wrong_frames, cpu_s());
    const char *comma = "";
    for (int status = 0; status < 1000; status++)
        if (total.status[status]) {
            printf("%s\"%d\": %llu", comma, status, (unsigned long long)total.status[status]);
            comma = ", ";
        }
    puts("}}");
    return 0;
}
