/* The writers: one PUT an object, a chunk each period, ended with a last chunk or killed in mid-chunk;
 * and the one connection that asks for a DELETE.
 *
 * A writer of segments sends the last chunk along with a segment's last data, awaits the answer, and
 * sends the next PUT's head along with its first data when that is due: on the same connection.
 *
 * A writer whose last chunk isn't wholly sent (or answered) when the next is due is held up by the server:
 * the next goes out late, and `write_time` (due to sent) shows it.
 */
#ifndef BENCH_GEN_WRITER_H
#define BENCH_GEN_WRITER_H
#include "gen_body.h"

static void writer_connect(int index) {
    struct object *object = &objects[index];
    object->state = O_CONNECTING;
    object->asks_write = true;
    object->fd = connect_nowait(&writer_server);
    epoll_set(epoll, EPOLL_CTL_ADD, object->fd, EPOLLIN | EPOLLOUT, TAG(TAG_WRITER, index));
}

static void writer_start(int index, int64_t now) {
    struct object *object = &objects[index];
    object->id = option.segment ? segment_id(index, 0) : next_object_id++;
    object->next_seq = object->window_first = object->window_next = 0;
    object->answer_bytes = object->frame_bytes = object->sent_bytes = 0;
    object->started_ns = now;
    writer_connect(index);
}

static size_t put_head(unsigned char *out, uint32_t id) {
    return (size_t)snprintf((char *)out, 512,
                            "PUT %s/o-%u.m4s HTTP/1.1\r\nHost: %s:%lld\r\nTransfer-Encoding: chunked\r\n\r\n",
                            option.prefix, id, option.host, option.port);
}

/* Builds the frame of the next chunk, and with it the end of a segment or the head of the next. */
static void writer_build(int index) {
    struct object *object = &objects[index];
    uint64_t seq = object->next_seq;
    uint32_t id = option.segment ? segment_id(index, seq) : object->id;
    object->head_bytes = seq && segment_begins(index, seq) ? put_head(object->frame, id) : 0;
    object->built_bytes = object->head_bytes;
    object->built_bytes += frame_build(object->frame + object->head_bytes, (size_t)option.chunk, id, seq);
    if (segment_begins(index, seq + 1))
        object->built_bytes += (size_t)sprintf((char *)object->frame + object->built_bytes, "0\r\n\r\n");
}

static void writer_fail(struct object *object) {
    reset(object->fd);
    object->fd = -1;
    object->state = O_FAILED;
    if (object->deleted) return;
    total.writers_failed++;
    int status = object->answer_bytes > 9 ? atoi(object->answer + 9) : 0;
    if (status && !total.first_bad_status) total.first_bad_status = status;
}

/* Sends what is left of the frame; asks for EPOLLOUT only while something is. */
static void writer_flush(int index, int64_t now) {
    struct object *object = &objects[index];
    if (object->sent_bytes < object->frame_bytes) {
        ssize_t sent = send(object->fd, object->frame + object->sent_bytes,
                            object->frame_bytes - object->sent_bytes, 0);
        if (sent < 0 && errno != EAGAIN) {
            writer_fail(object);
            return;
        }
        if (sent > 0) object->sent_bytes += (size_t)sent;
        if (object->sent_bytes == object->frame_bytes) {
            object->free_ns = now_ns();
            if (in_window((uint64_t)now)) hist_add(&write_time, object->free_ns - object->pending_due_ns);
            writer_build(index);
        }
    }
    bool asks = object->sent_bytes < object->frame_bytes;
    if (asks != object->asks_write)
        epoll_set(epoll, EPOLL_CTL_MOD, object->fd, EPOLLIN | (asks ? EPOLLOUT : 0), TAG(TAG_WRITER, index));
    object->asks_write = asks;
}

static void writer_due(int index, int64_t now) {
    struct object *object = &objects[index];
    if (object->state != O_OPEN || object->sent_bytes < object->frame_bytes) return;
    if (ending && !object->head_bytes) { /* its readers already ask for a segment that is due: it comes */
        object->state = O_ENDING;
        object->frame_bytes = (size_t)sprintf((char *)object->frame, "0\r\n\r\n");
    } else {
        object->frame_bytes = object->built_bytes;
        now = now_ns();
        if (option.segment) object->id = segment_id(index, object->next_seq);
        frame_stamp(object->frame + object->head_bytes, object->id, object->next_seq, now);
        if (segment_begins(index, object->next_seq + 1)) object->state = O_BETWEEN;
        object_grew(object, object->next_seq, (uint64_t)now);
        total.written += (uint64_t)option.chunk;
        /* Late because the server held up the last frame isn't our lag. */
        int64_t could_ns = object->free_ns > object->due_ns ? object->free_ns : object->due_ns;
        if (in_window((uint64_t)now)) hist_add(&write_lag, now - could_ns);
    }
    object->sent_bytes = 0;
    object->pending_due_ns = object->due_ns;
    object->due_ns += NS_PER_S / option.rate;
    writer_flush(index, now);
}

/* Dies as an encoder does that is killed: half a chunk, then a reset. A new one takes its slot. */
static void writer_kill(int index, int64_t now) {
    struct object *object = &objects[index];
    if (object->state != O_OPEN || object->sent_bytes < object->frame_bytes) return;
    frame_stamp(object->frame, object->id, object->next_seq, now);
    if (send(object->fd, object->frame, object->built_bytes / 2, 0) < 0) total.writers_failed++;
    reset(object->fd);
    total.killed++;
    for (int at = index; at < reader_total; at += (int)option.objects)
        if (readers[at].state == R_BODY && !readers[at].is_stalled) reader_settle(&readers[at], 2);
    writer_start(index, now);
    for (int at = index; at < reader_total; at += (int)option.objects)
        if (readers[at].state == R_WAITING) readers[at].due_ns = now + 100 * NS_PER_MS;
}

static bool answer_is_whole(const struct object *object) {
    const char *end = strstr(object->answer, "\r\n\r\n");
    const char *length = strcasestr(object->answer, "\r\nContent-Length:");
    size_t body_bytes = length ? strtoull(length + 17, NULL, 10) : 0;
    return end && object->answer_bytes >= (size_t)(end + 4 - object->answer) + body_bytes;
}

/* A segment is stored: the next may begin when its first chunk is due. */
static void writer_answered(int index, int64_t now) {
    struct object *object = &objects[index];
    bool is_closing = strcasestr(object->answer, "\r\nConnection: close");
    total.writers_ok++;
    object->answer_bytes = 0;
    object->free_ns = now;
    object->state = O_OPEN;
    if (!is_closing) return;
    close(object->fd);
    writer_connect(index);
}

static void writer_ready(int index, uint32_t events) {
    struct object *object = &objects[index];
    if (object->fd < 0) return;
    int64_t now = now_ns();
    if (object->state == O_CONNECTING && events & EPOLLOUT && object->head_bytes) {
        object->state = O_OPEN; /* the next segment's head goes with its first chunk */
    } else if (object->state == O_CONNECTING && events & EPOLLOUT) {
        object->frame_bytes = put_head(object->frame, object->id);
        object->pending_due_ns = now;
        object->state = O_OPEN;
        while (object->due_ns < now) object->due_ns += NS_PER_S / option.rate;
    }
    if (events & EPOLLOUT && object->state >= O_OPEN) writer_flush(index, now);
    if (object->fd < 0 || !(events & (EPOLLIN | EPOLLERR | EPOLLHUP))) return;
    size_t room = sizeof object->answer - 1 - object->answer_bytes;
    char spill[256];
    ssize_t got = recv(object->fd, room ? object->answer + object->answer_bytes : spill,
                       room ? room : sizeof spill, 0);
    if (got > 0 && room) object->answer[object->answer_bytes += (size_t)got] = 0;
    if (got < 0 && errno == EAGAIN) return;
    int status = object->answer_bytes > 12 ? atoi(object->answer + 9) : 0;
    if (object->deleted && status) deletion.status_put = status;
    if (object->state == O_ENDING && (status == 201 || status == 200)) {
        object->state = O_DONE;
        total.writers_ok++;
        reset(object->fd);
        object->fd = -1;
    } else if (object->state == O_BETWEEN && (status == 201 || status == 200) && got > 0 && room &&
               object->sent_bytes == object->frame_bytes) {
        if (answer_is_whole(object)) writer_answered(index, now);
    } else if (got <= 0 || status) {
        writer_fail(object);
    }
}

/* ---- DELETE of object 0, and a GET of it right behind ---- */

static void deletion_start(int64_t now) {
    deletion.fd = connect_nowait(&server);
    deletion.asked_ns = now;
    epoll_set(epoll, EPOLL_CTL_ADD, deletion.fd, EPOLLOUT, TAG(TAG_CONTROL, 0));
}

static void deletion_ask(const char *method) {
    char head[256];
    int size = snprintf(head, sizeof head, "%s %s/o-%u.m4s HTTP/1.1\r\nHost: %s:%lld\r\n\r\n", method,
                        option.prefix, objects[0].id, option.host, option.port);
    if (send(deletion.fd, head, (size_t)size, 0) != size) die("%s: %s", method, strerror(errno));
    deletion.state++;
    deletion.answer_bytes = 0;
}

static void deletion_ready(void) {
    if (deletion.state == 0 || deletion.state == 2) {
        objects[0].deleted = true; /* readers may be cut before the answer is read */
        deletion_ask(deletion.state == 0 ? "DELETE" : "GET");
        epoll_set(epoll, EPOLL_CTL_MOD, deletion.fd, EPOLLIN, TAG(TAG_CONTROL, 0));
        return;
    }
    ssize_t got = recv(deletion.fd, deletion.answer + deletion.answer_bytes,
                       sizeof deletion.answer - 1 - deletion.answer_bytes, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got > 0) deletion.answer[deletion.answer_bytes += (size_t)got] = 0;
    int status = deletion.answer_bytes > 12 ? atoi(deletion.answer + 9) : 0;
    if (deletion.state == 1 && status) {
        deletion.status_delete = status;
        deletion.answered_ns = now_ns();
        /* On a connection of its own: the DELETE's body may still be under way on this one. */
        reset(deletion.fd);
        deletion.fd = connect_nowait(&server);
        epoll_set(epoll, EPOLL_CTL_ADD, deletion.fd, EPOLLOUT, TAG(TAG_CONTROL, 0));
        deletion.state = 2;
    } else if (deletion.state == 3 && (status || got <= 0)) {
        deletion.status_get = status;
        reset(deletion.fd);
        deletion.fd = -1;
        deletion.state = 4;
    } else if (got <= 0) {
        die("DELETE was not answered");
    }
}
#endif
