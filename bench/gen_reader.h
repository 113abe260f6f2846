/* The readers: they join, ask, and end in one of several ways, or go on with the next segment.
 *
 * A reader of segments asks for the next one as soon as the last is whole: half of them on the same
 * connection, half on a new one for each. A 404 says that it is early: it asks again after a pause,
 * on the connection it has.
 */
#ifndef BENCH_GEN_READER_H
#define BENCH_GEN_READER_H
#include "gen_state.h"

static void reader_connect(int index) {
    struct reader *reader = &readers[index];
    reader->state = R_CONNECTING;
    reader->is_closing = false;
    reader->fd = connect_nowait(&server);
    epoll_set(epoll, EPOLL_CTL_ADD, reader->fd, EPOLLOUT, TAG(TAG_READER, index));
}

static void reader_join(int index, int64_t now) {
    struct reader *reader = &readers[index];
    const struct object *object = &objects[reader->slot];
    bool again = reader->joined_ns != 0;
    *reader = (struct reader){.slot = reader->slot, .object = object->id, .is_checked = reader->is_checked,
                              .is_stalled = reader->is_stalled, .is_keep_alive = reader->is_keep_alive,
                              .joined_ns = now, .wanted_ns = now};
    if (option.segment) reader->seq = segment_start(reader->slot, object->id);
    /* A rejoiner first gets its backlog: what it is owed in real time starts a second later. */
    if (again) reader->first_seq = object->next_seq + (uint64_t)option.rate;
    reader_connect(index);
}

static void reader_ask(int index) {
    struct reader *reader = &readers[index];
    char head[256];
    int size = snprintf(head, sizeof head, "GET %s/o-%u.m4s HTTP/1.1\r\nHost: %s:%lld\r\nAccept: */*\r\n\r\n",
                        option.prefix, reader->object, option.host, option.port);
    if (send(reader->fd, head, (size_t)size, 0) != size) return; /* the error shows up as EPOLLERR */
    total.requests += in_window((uint64_t)now_ns());
    if (reader->state == R_CONNECTING)
        epoll_set(epoll, EPOLL_CTL_MOD, reader->fd, reader->is_stalled ? 0 : EPOLLIN, TAG(TAG_READER, index));
    reader->state = R_HEAD;
}

/* Asks for an object anew: where the connection stays, on it. */
static void reader_again(int index) {
    struct reader *reader = &readers[index];
    reader->framing = F_SIZE;
    reader->is_sized = false;
    reader->http_left = reader->line_bytes = 0;
    if (reader->fd >= 0 && reader->is_closing) {
        close(reader->fd); /* as a player does, not with a reset: it has had all of it */
        reader->fd = -1;
    }
    if (reader->fd < 0) reader_connect(index);
    else reader_ask(index);
}

static void reader_pause(struct reader *reader, int64_t now) {
    total.retries += in_window((uint64_t)now);
    reader->state = R_PAUSED;
    reader->due_ns = now + option.retry_ms * NS_PER_MS;
    paused.index[(paused.first + paused.count++) % reader_total] = (int)(reader - readers);
}

/* Lets those ask whose pause is over; when the next one is due. */
static int64_t pauses_end(int64_t now) {
    while (paused.count) {
        int index = paused.index[paused.first];
        if (readers[index].due_ns > now) return readers[index].due_ns;
        paused.first = (paused.first + 1) % reader_total;
        paused.count--;
        reader_again(index);
    }
    return FOREVER;
}

/* Anything that a connection says during a pause is its end. */
static void paused_ready(struct reader *reader) {
    char byte;
    ssize_t got = recv(reader->fd, &byte, 1, 0);
    if (got < 0 && errno == EAGAIN) return;
    total.wrong_frames += got > 0;
    reset(reader->fd);
    reader->fd = -1;
}

/* Over for good, or due again (churn). */
static void reader_leave(struct reader *reader, int64_t due_ns, uint64_t in_flight) {
    reset(reader->fd);
    reader->fd = -1;
    /* All segments are owed to every reader: its books stay open to the end of the run. */
    if (!reader->is_stalled && !option.segment) reader_settle(reader, in_flight);
    reader->state = due_ns == FOREVER ? R_OVER : R_WAITING;
    reader->due_ns = due_ns;
}

static bool writer_is_gone(const struct reader *reader) {
    return !option.segment && reader->object != objects[reader->slot].id;
}

/* The body ended without its last chunk, or the answer was a refusal (status > 0). */
static void reader_cut(struct reader *reader, int status, int64_t now) {
    const struct object *object = &objects[reader->slot];
    if (reader->is_stalled) {
        total.stalled_cut++;
        reader_leave(reader, FOREVER, 0);
    } else if (object->deleted) {
        deletion.cut++;
        deletion.last_cut_ns = now;
        reader_leave(reader, FOREVER, UINT64_MAX);
    } else if (writer_is_gone(reader)) {
        if (status) total.kills_refused++;
        else total.cut_by_kill++;
        int64_t ready_ns = object->started_ns + 100 * NS_PER_MS; /* let the new PUT exist first */
        reader_leave(reader, ending ? FOREVER : (ready_ns > now ? ready_ns : now), UINT64_MAX);
    } else {
        if (status) total.refused++;
        else total.cut++;
        if (status && !total.first_bad_status) total.first_bad_status = status;
        bool again = (option.churn_percent_s || option.kills_per_s) && !ending;
        reader_leave(reader, again ? now + 100 * NS_PER_MS : FOREVER, 0);
    }
}

static void reader_ended_clean(struct reader *reader, int64_t now) {
    struct object *object = &objects[reader->slot];
    bool is_newest = reader->object == object->id;
    bool whole = is_newest && object->state >= O_ENDING && reader->seq == object->next_seq && !reader->chunk_at;
    bool goes_on = !whole && !reader->chunk_at && reader->seq && segment_begins(reader->slot, reader->seq) &&
                   reader->object == segment_id(reader->slot, reader->seq - 1);
    if (goes_on) {
        total.segments++;
        reader->object = segment_id(reader->slot, reader->seq);
        reader->wanted_ns = now;
        if (!reader->is_keep_alive) reader->is_closing = true;
        reader_again((int)(reader - readers));
        return;
    }
    if (object->deleted) deletion.clean++;
    else if (whole) total.clean_ends++;
    else total.false_ends++;
    reader_leave(reader, FOREVER, whole ? 0 : UINT64_MAX);
}
#endif
