/* A reader's body: followed, checked, and timed, in chunks or with a length.
 *
 * Content that isn't checked is discarded in the kernel (MSG_TRUNC), a chunk at a time; size lines and
 * stamps are always read and always checked. Every sampled reader compares every byte.
 */
#ifndef BENCH_GEN_BODY_H
#define BENCH_GEN_BODY_H
#include "gen_reader.h"

#define PEEK 512 /* enough for a size line and a stamp; little enough to cost nothing */

static void chunk_received(struct reader *reader, int64_t now) {
    struct object *object = &objects[reader->slot];
    int64_t took_ns = now - (int64_t)reader->stamp.sent_ns;
    if (in_window(reader->stamp.sent_ns)) {
        if (reader->seq >= reader->first_seq) {
            reader->window_chunks++;
            reader->window_in_time += took_ns <= option.late_ms * NS_PER_MS;
        }
        if (reader->is_live) {
            hist_add(&latency, took_ns);
            if (reader - readers < option.objects) hist_add(&control_latency, took_ns);
            if (segment_begins(reader->slot, reader->seq)) hist_add(&first_chunk, took_ns);
        }
    } else if (reader->is_live && now < window_start_ns) {
        hist_add(&join_latency, took_ns);
    }
    if (deletion.answered_ns && object->deleted) deletion.chunks_after++;
    reader->seq++;
    reader->chunk_at = 0;
    if (!reader->is_live && reader->seq >= object->next_seq) reader->is_live = true;
}

static void stamp_received(struct reader *reader) {
    const struct stamp *stamp = &reader->stamp;
    if (!reader->knows_seq) { /* the floor has no backlog: its first chunk may be any */
        reader->knows_seq = true;
        if (!option.writers) {
            reader->seq = stamp->seq;
            if (reader->joined_ns > window_start_ns || reader->first_seq) reader->first_seq = stamp->seq;
        }
    }
    uint32_t expected = option.writers ? reader->object : reader->object % (uint32_t)option.objects;
    if (stamp->magic != MAGIC || stamp->object != expected || stamp->seq != reader->seq) total.wrong_bytes++;
    if (!option.writers) object_grew(&objects[reader->slot], stamp->seq, stamp->sent_ns);
}

/* Follows `size` payload bytes; `bytes` is NULL where they were discarded. */
static void payload_follow(struct reader *reader, const unsigned char *bytes, size_t size, int64_t now) {
    total.received += size;
    while (size) {
        size_t at = reader->chunk_at, step = (size_t)option.chunk - at;
        if (at < STAMP) {
            step = STAMP - at < size ? STAMP - at : size;
            memcpy((char *)&reader->stamp + at, bytes, step);
            if (at + step == STAMP) stamp_received(reader);
        } else {
            if (step > size) step = size;
            if (bytes && reader->is_checked) {
                total.checked_bytes += step;
                if (memcmp(bytes, pattern_of(reader->stamp.object, reader->seq) + at, step))
                    total.wrong_bytes++;
            }
        }
        reader->chunk_at += step;
        if (bytes) bytes += step;
        size -= step;
        if (reader->chunk_at == (size_t)option.chunk) chunk_received(reader, now);
    }
}

/* Collects a line (or the response's head) up to `end`; true when it is whole. */
static bool line_collect(struct reader *reader, const unsigned char **bytes, size_t *size, const char *end) {
    size_t end_bytes = strlen(end);
    while (*size) {
        if (reader->line_bytes >= sizeof reader->line - 1) reader->line_bytes = 64; /* keep the start */
        reader->line[reader->line_bytes++] = (char)*(*bytes)++;
        (*size)--;
        if (reader->line_bytes >= end_bytes &&
            !memcmp(reader->line + reader->line_bytes - end_bytes, end, end_bytes)) {
            reader->line[reader->line_bytes] = 0;
            reader->line_bytes = 0;
            return true;
        }
    }
    return false;
}

/* A GET that arrives as its object completes gets a sized body, not a chunked one. A 404 of a segment
 * that may still come is no refusal; one without a length is the last answer of its connection. */
static void head_received(struct reader *reader, int64_t now) {
    const char *length = strcasestr(reader->line, "\r\nContent-Length:");
    int status = atoi(reader->line + 9);
    bool is_early = status == 404 && option.segment && now - reader->wanted_ns < option.give_up_ms * NS_PER_MS;
    if (status != 200 && !is_early) {
        reader_cut(reader, status, now);
        return;
    }
    if (strcasestr(reader->line, "\r\nConnection: close") || (is_early && !length)) reader->is_closing = true;
    reader->state = is_early ? R_REFUSED : R_BODY;
    if (!length) return;
    reader->is_sized = true;
    reader->framing = F_DATA;
    reader->http_left = strtoull(length + 17, NULL, 10);
}

static void first_body_byte(struct reader *reader, int64_t now) {
    if (reader->has_first) return;
    reader->has_first = true;
    if (now < window_start_ns) hist_add(&first_byte, now - reader->joined_ns);
    total.joined++;
}

/* A run of received bytes; false when the reader left, or asked for something else. */
static bool reader_feed(struct reader *reader, const unsigned char *bytes, size_t size, int64_t now) {
    if (reader->state == R_HEAD) {
        if (!line_collect(reader, &bytes, &size, "\r\n\r\n")) return true;
        head_received(reader, now);
    }
    if (reader->state == R_REFUSED) {
        reader->http_left -= size < reader->http_left ? size : reader->http_left;
        if (reader->http_left) return true;
        reader_pause(reader, now);
        return false;
    }
    if (reader->state != R_BODY) return false;
    if (reader->is_sized && !reader->http_left) {
        reader_ended_clean(reader, now);
        return false;
    }
    if (size) first_body_byte(reader, now);
    while (size) {
        if (reader->framing == F_DATA) {
            size_t step = reader->http_left < size ? (size_t)reader->http_left : size;
            payload_follow(reader, bytes, step, now);
            bytes += step;
            size -= step;
            if (!(reader->http_left -= step)) reader->framing = F_DATA_END;
            if (reader->http_left || !reader->is_sized) continue;
            total.wrong_frames += size != 0;
            reader_ended_clean(reader, now);
            return false;
        }
        if (!line_collect(reader, &bytes, &size, "\r\n")) return true;
        if (reader->framing == F_LAST) {
            total.wrong_frames += size != 0; /* nothing more was asked for */
            reader_ended_clean(reader, now);
            return false;
        }
        if (reader->framing == F_DATA_END) {
            total.http_chunks++;
            total.broken_boundaries += reader->http_size != (uint64_t)option.chunk || reader->chunk_at != 0;
            total.wrong_frames += strcmp(reader->line, "\r\n") != 0;
            reader->framing = F_SIZE;
            continue;
        }
        char *end;
        reader->http_size = reader->http_left = strtoull(reader->line, &end, 16);
        if (end == reader->line || strcmp(end, "\r\n")) total.wrong_frames++;
        reader->framing = reader->http_left ? F_DATA : F_LAST;
    }
    return true;
}

/* Discards content in the kernel, its CRLF too; `drained` says that the socket had less than that. */
static ssize_t reader_discard(struct reader *reader, int64_t *now, bool *drained) {
    size_t chunk_left = (size_t)option.chunk - reader->chunk_at;
    size_t content = reader->http_left < chunk_left ? (size_t)reader->http_left : chunk_left;
    size_t wanted = content + (content == reader->http_left && !reader->is_sized ? 2 : 0);
    ssize_t got = recv(reader->fd, scratch, wanted, MSG_TRUNC);
    if (got <= 0) return got;
    *now = now_ns();
    *drained = (size_t)got < wanted;
    if ((size_t)got < content) content = (size_t)got;
    payload_follow(reader, NULL, content, *now);
    if (!(reader->http_left -= content)) reader->framing = F_DATA_END;
    if ((size_t)got > content)
        reader_feed(reader, (const unsigned char *)"\r\n", (size_t)got - content, *now);
    else if (!reader->http_left && reader->is_sized)
        reader_ended_clean(reader, *now);
    return got;
}

static void reader_ready(int index, uint32_t events) {
    struct reader *reader = &readers[index];
    if (reader->fd < 0) return; /* left earlier in this batch */
    if (reader->state == R_PAUSED) {
        paused_ready(reader);
        return;
    }
    if (reader->is_stalled && reader->state == R_HEAD) {
        if (events & (EPOLLERR | EPOLLHUP)) reader_cut(reader, 0, now_ns());
        return;
    }
    if (reader->state == R_CONNECTING && !(events & EPOLLERR)) {
        reader_ask(index);
        return;
    }
    /* Bounded, so that one reader with a long backlog doesn't hold up the timers. */
    for (int round = 0; round < 8; round++) {
        int64_t now;
        bool drained = false;
        ssize_t got;
        if (reader->framing == F_DATA && !reader->is_checked && reader->chunk_at >= STAMP) {
            got = reader_discard(reader, &now, &drained);
            /* At the edge the next chunk is a while away: asking again would only say so. */
            if (reader->state != R_BODY || (got > 0 && reader->framing == F_SIZE && reader->is_live)) return;
        } else {
            size_t room = reader->is_checked && reader->state == R_BODY ? scratch_bytes : PEEK;
            got = recv(reader->fd, scratch, room, 0);
            if (got > 0) {
                now = now_ns();
                if (!reader_feed(reader, scratch, (size_t)got, now)) return;
                drained = (size_t)got < room;
            }
        }
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) {
            reader_cut(reader, 0, now_ns());
            return;
        }
        if (drained) return;
    }
}
#endif
