/* A closed-loop request client: C connections, each with up to `depth` requests under way.
 *
 * The path's %d, %a and %b make keys first..first+count-1; `shuffle` walks them in a scattered order, so
 * that an ordered index isn't flattered by sorted input. A body is `body` bytes, with a length or in
 * chunks of `chunk`. Answers are followed by Content-Length or chunked framing; their status (expect 0:
 * any of 2xx) and bytes are checked and counted. Ends after `requests` (else `count`), or after
 * `seconds-ms` where that is given. One JSON line on stdout, after {"mark": "start"} and {"mark": "end"}.
 */
#include "common.h"

struct connection {
    int fd, under_way;
    bool connected, asks_write;
    enum { A_HEAD, A_LENGTH, A_SIZE, A_CHUNK, A_CHUNK_END, A_LAST } framing;
    uint64_t left;
    size_t line_bytes, out_bytes, out_sent, out_room;
    int64_t *sent_ns; /* ring of depth entries: when each request under way was begun */
    int first;
    char line[4096];
    char *out;
};

static long long port, connections = 1, depth = 1, first, count, requests, seconds_ms, body_bytes, chunk_bytes, shuffle, expected = 200,
                       lines_expected, wait_ms = 10000;
static const char *host = "127.0.0.1", *method = "GET", *path = "/";
static struct connection *all;
static struct hist latency;
static uint64_t begun, done, unexpected, received, lines;
static uint64_t line_errors, lines_before;
static int last_status, bad_status;
static int64_t stop_ns = FOREVER;
static int epoll;
static char *body; /* as it is sent, framing included */
static size_t body_size;

/* A stride that shares no factor with count visits every key once, scattered. */
static uint64_t key_of(uint64_t turn) {
    if (!count) return (uint64_t)first;
    static uint64_t stride;
    if (!stride) {
        stride = shuffle ? (uint64_t)((double)count * 0.6180339887) | 1 : 1;
        for (;; stride += 2) {
            uint64_t a = (uint64_t)count, b = stride;
            while (b) {
                uint64_t rest = a % b;
                a = b;
                b = rest;
            }
            if (a == 1) break;
        }
    }
    return (uint64_t)first + turn * stride % (uint64_t)count;
}

static void body_build(void) {
    long long step = chunk_bytes ? chunk_bytes : body_bytes, count = step ? body_bytes / step + 1 : 0;
    char *at = body = need(malloc((size_t)(body_bytes + 32 * count + 16)));
    for (long long left = body_bytes; left > 0; left -= step) {
        long long size = left < step ? left : step;
        if (chunk_bytes) at += sprintf(at, "%llx\r\n", size);
        memset(at, 'x', (size_t)size);
        at += size;
        if (chunk_bytes) at += sprintf(at, "\r\n");
    }
    if (chunk_bytes) at += sprintf(at, "0\r\n\r\n");
    body_size = (size_t)(at - body);
}

static bool more(void) {
    return seconds_ms ? now_ns() < stop_ns : begun < (uint64_t)requests;
}

/* %d in the path is the key, %a its hundreds, %b what is left of it: folders of a hundred names. */
static size_t path_write(char *out, uint64_t key) {
    char *at = out;
    for (const char *from = path; *from; from++) {
        if (from[0] != '%' || !strchr("dab", from[1])) {
            *at++ = *from;
            continue;
        }
        from++;
        at += sprintf(at, *from == 'b' ? "%02llu" : "%06llu",
                      (unsigned long long)(*from == 'd' ? key : *from == 'a' ? key / 100 : key % 100));
    }
    return (size_t)(at - out);
}

static void request_add(struct connection *connection) {
    size_t wanted = connection->out_bytes + strlen(path) + 512 + body_size;
    if (wanted > connection->out_room)
        connection->out = need(realloc(connection->out, connection->out_room = wanted * 2));
    char *at = connection->out + connection->out_bytes;
    at += sprintf(at, "%s ", method);
    at += path_write(at, key_of(begun));
    at += sprintf(at, " HTTP/1.1\r\nHost: %s:%lld\r\nUser-Agent: bench\r\nAccept: */*\r\n", host, port);
    if (chunk_bytes) at += sprintf(at, "Transfer-Encoding: chunked\r\n");
    else if (body_bytes) at += sprintf(at, "Content-Length: %lld\r\n", body_bytes);
    at += sprintf(at, "\r\n");
    memcpy(at, body, body_size);
    connection->out_bytes = (size_t)(at - connection->out) + body_size;
    connection->sent_ns[(connection->first + connection->under_way++) % depth] = now_ns();
    begun++;
}

static void connection_flush(struct connection *connection) {
    while (connection->under_way < depth && more()) request_add(connection);
    while (connection->out_sent < connection->out_bytes) {
        ssize_t sent = send(connection->fd, connection->out + connection->out_sent,
                            connection->out_bytes - connection->out_sent, 0);
        if (sent < 0 && errno == EAGAIN) break;
        if (sent <= 0) die("the server closed a connection after %llu answers (status %d)",
                           (unsigned long long)done, last_status);
        connection->out_sent += (size_t)sent;
    }
    bool asks = connection->out_sent < connection->out_bytes;
    if (!asks) connection->out_bytes = connection->out_sent = 0;
    if (asks != connection->asks_write)
        epoll_set(epoll, EPOLL_CTL_MOD, connection->fd, EPOLLIN | (asks ? EPOLLOUT : 0),
                  (uint64_t)(connection - all));
    connection->asks_write = asks;
}

static void answer_done(struct connection *connection) {
    hist_add(&latency, now_ns() - connection->sent_ns[connection->first]);
    connection->first = (int)((connection->first + 1) % depth);
    connection->under_way--;
    done++;
    if (expected ? last_status != expected : last_status / 100 != 2) {
        unexpected++;
        bad_status = last_status;
    } else if (lines_expected && lines - lines_before != (uint64_t)lines_expected) {
        line_errors++;
    }
    lines_before = lines;
    connection->framing = A_HEAD;
}

static void head_done(struct connection *connection) {
    last_status = atoi(connection->line + 9);
    const char *length = strcasestr(connection->line, "\r\ncontent-length:");
    if (strcasestr(connection->line, "\r\ntransfer-encoding: chunked")) {
        connection->framing = A_SIZE;
    } else {
        connection->framing = A_LENGTH;
        connection->left = length ? strtoull(length + 17, NULL, 10) : 0;
        if (!connection->left) answer_done(connection);
    }
}

static void content(struct connection *connection, const char *bytes, size_t size) {
    received += size;
    if (lines_expected)
        for (size_t at = 0; at < size; at++) lines += bytes[at] == '\n';
    connection->left -= size;
}

static void line_done(struct connection *connection) {
    switch (connection->framing) {
    case A_HEAD: head_done(connection); break;
    case A_SIZE:
        connection->left = strtoull(connection->line, NULL, 16);
        connection->framing = connection->left ? A_CHUNK : A_LAST;
        break;
    case A_CHUNK_END: connection->framing = A_SIZE; break;
    default: answer_done(connection);
    }
}

static void feed(struct connection *connection, const char *bytes, size_t size) {
    while (size) {
        if (connection->framing == A_LENGTH || connection->framing == A_CHUNK) {
            size_t step = connection->left < size ? (size_t)connection->left : size;
            content(connection, bytes, step);
            bytes += step;
            size -= step;
            if (connection->left) continue;
            if (connection->framing == A_CHUNK) connection->framing = A_CHUNK_END;
            else answer_done(connection);
            continue;
        }
        if (connection->line_bytes == sizeof connection->line - 1) die("a head over 4 KiB");
        const char *end = connection->framing == A_HEAD ? "\r\n\r\n" : "\r\n";
        size_t end_bytes = strlen(end);
        connection->line[connection->line_bytes++] = *bytes++;
        size--;
        if (connection->line_bytes < end_bytes ||
            memcmp(connection->line + connection->line_bytes - end_bytes, end, end_bytes))
            continue;
        connection->line[connection->line_bytes] = 0;
        connection->line_bytes = 0;
        line_done(connection);
    }
}

static void connection_ready(struct connection *connection, uint32_t events) {
    static char buffer[262144];
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
        /* A large body is discarded in the kernel: copying it would make us the bottleneck. */
        bool skips = connection->framing == A_LENGTH && connection->left >= sizeof buffer && !lines_expected;
        ssize_t got = recv(connection->fd, buffer, skips ? (size_t)connection->left : sizeof buffer,
                           skips ? MSG_TRUNC : 0);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            die("the server closed a connection after %llu answers (last status %d)",
                (unsigned long long)done, last_status);
        if (got > 0 && skips) {
            content(connection, buffer, (size_t)got);
            if (!connection->left) answer_done(connection);
        } else if (got > 0) {
            feed(connection, buffer, (size_t)got);
        }
    }
    if (connection->under_way == 0 || connection->under_way <= depth / 2 || connection->asks_write)
        connection_flush(connection);
}

static void mark(const char *name) {
    printf("{\"mark\": \"%s\", \"at_ns\": %lld, \"received_bytes\": %llu}\n", name, (long long)now_ns(),
           (unsigned long long)received);
    fflush(stdout);
}

static void connect_all(void) {
    struct sockaddr_in address = address_of(host, port);
    all = need(calloc((size_t)connections, sizeof *all));
    for (long long index = 0; index < connections; index++) {
        struct connection *connection = &all[index];
        connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&address, sizeof address))
            die("connect: %s", strerror(errno));
        int on = 1;
        setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        fcntl(connection->fd, F_SETFL, O_NONBLOCK);
        connection->sent_ns = need(calloc((size_t)depth, sizeof *connection->sent_ns));
        epoll_set(epoll, EPOLL_CTL_ADD, connection->fd, EPOLLIN, (uint64_t)index);
    }
}

int main(int argc, char **argv) {
    const struct option_row rows[] = {
        {"--host", NULL, &host},           {"--port", &port, NULL},
        {"--method", NULL, &method},       {"--path", NULL, &path},
        {"--connections", &connections, NULL}, {"--depth", &depth, NULL},
        {"--first", &first, NULL},         {"--count", &count, NULL},
        {"--requests", &requests, NULL},   {"--seconds-ms", &seconds_ms, NULL},
        {"--body", &body_bytes, NULL},     {"--chunk", &chunk_bytes, NULL},
        {"--shuffle", &shuffle, NULL},     {"--expect", &expected, NULL},
        {"--lines", &lines_expected, NULL}, {"--wait-ms", &wait_ms, NULL},
        {NULL, NULL, NULL}};
    die_with_parent();
    options_read(argc, argv, rows);
    if (!port || !connections || !depth || (!count && !seconds_ms))
        die("port, connections, depth and one of count and seconds-ms must be at least 1");
    if (!requests) requests = count;
    descriptors_raise(connections + 64);
    body_build();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    connect_all();
    mark("start");
    int64_t began = now_ns();
    double cpu_began = cpu_s();
    stop_ns = began + seconds_ms * NS_PER_MS;
    for (long long index = 0; index < connections; index++) connection_flush(&all[index]);
    struct epoll_event events[256];
    while (done < begun) {
        int ready = epoll_wait(epoll, events, 256, (int)wait_ms);
        if (ready == 0) die("nothing happened for %lld ms after %llu answers", wait_ms, (unsigned long long)done);
        for (int at = 0; at < ready; at++)
            connection_ready(&all[events[at].data.u64], events[at].events);
    }
    double seconds = (double)(now_ns() - began) / 1e9;
    mark("end");
    printf("{\"report\": true, \"seconds\": %.6f, \"generator_cpu\": %.4f, \"answers\": %llu, "
           "\"unexpected\": %llu, \"bad_status\": %d, \"line_errors\": %llu, \"received_bytes\": %llu, ",
           seconds, (cpu_s() - cpu_began) / seconds, (unsigned long long)done,
           (unsigned long long)unexpected, bad_status, (unsigned long long)line_errors,
           (unsigned long long)received);
    hist_print(stdout, "latency", &latency);
    printf("}\n");
    for (long long index = 0; index < connections; index++) reset(all[index].fd);
    return 0;
}
