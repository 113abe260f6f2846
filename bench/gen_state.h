/* The load generator's state: options, objects (one writer each), readers, totals.
 *
 * Included by loadgen.c only. `W` is the window in which latency and delivery are judged: it opens
 * with the mark "joined" and closes with the mark "end"; a chunk belongs to it by its stamp.
 *
 * Each object has a slot, with one writer and its readers. Without --segment a slot's object is endless
 * (a killed writer's slot gets a new one). With --segment N the slot's chunks are numbered through and
 * every N of them are an object, so a reader's place, and what the window owes it, is one number however
 * many objects it has read.
 */
#ifndef BENCH_GEN_STATE_H
#define BENCH_GEN_STATE_H
#include "common.h"

enum { TAG_WRITER = 1, TAG_READER, TAG_CONTROL };
#define TAG(kind, index) ((uint64_t)(kind) << 32 | (uint32_t)(index))

/* O_BETWEEN: a segment's last chunk is sent or being sent, and its answer awaited. */
enum object_state { O_IDLE, O_CONNECTING, O_OPEN, O_BETWEEN, O_ENDING, O_DONE, O_FAILED };
struct object {
    enum object_state state;
    int fd;
    uint32_t id;          /* of the newest: a killed writer's slot gets another one */
    uint64_t next_seq;    /* chunks begun in this slot; without writers: seen */
    uint64_t window_first, window_next; /* sequence numbers stamped inside the window */
    int64_t started_ns, due_ns, pending_due_ns, free_ns; /* free: the last frame was sent by then */
    unsigned char *frame;
    size_t frame_bytes, sent_bytes; /* of the frame being sent */
    size_t built_bytes;             /* of the next chunk's frame, once nothing is being sent */
    size_t head_bytes;              /* of these: the head of the PUT that begins with that chunk */
    bool asks_write, deleted;
    char answer[1024];
    size_t answer_bytes;
};

/* R_REFUSED: the rest of a 404 that is asked again; R_PAUSED: until then. */
enum reader_state { R_WAITING, R_CONNECTING, R_HEAD, R_BODY, R_REFUSED, R_PAUSED, R_OVER };
enum framing { F_SIZE, F_DATA, F_DATA_END, F_LAST };
struct reader {
    enum reader_state state;
    enum framing framing;
    int fd, slot;
    uint32_t object;
    bool is_checked, is_stalled, is_live, has_first, knows_seq;
    bool is_sized;                    /* the object was complete: one body of Content-Length, no chunks */
    bool is_keep_alive, is_closing;   /* stays for the next segment; can't: this answer is the last */
    int64_t due_ns, joined_ns, wanted_ns; /* wanted: this segment, since then */
    uint64_t seq, first_seq;          /* the chunk being received; the first one that counts */
    uint64_t window_chunks, window_in_time;
    size_t chunk_at;                  /* bytes of that chunk received */
    uint64_t http_left, http_size;    /* of the HTTP chunk (or the sized body) being received */
    size_t line_bytes;
    char line[1024];                  /* response head, size line */
    struct stamp stamp;
};

static struct {
    long long port, writers, objects, readers, chunk, rate, seconds_ms, join_ms, churn_percent_s,
        kills_per_s, stalled, delete_at_ms, check_one_in, late_ms, lead_ms, settle_ms, seed, drain_ms, segment,
        retry_ms, give_up_ms, writer_port;
    const char *host, *prefix;
} option = {.objects = 32, .readers = 128, .chunk = 32768, .rate = 8, .seconds_ms = 30000, .join_ms = 2000,
            .check_one_in = 16, .late_ms = 500, .lead_ms = 500, .settle_ms = 300, .seed = 1, .writers = 1,
            .drain_ms = 5000, .retry_ms = 10, .give_up_ms = 2000, .host = "127.0.0.1", .prefix = "/live"};

static struct {
    uint64_t received, checked_bytes, http_chunks, broken_boundaries, wrong_bytes, wrong_frames;
    uint64_t cut, refused, clean_ends, false_ends, cut_late, hung, joined;
    uint64_t left, killed, cut_by_kill, kills_refused, stalled_cut;
    uint64_t writers_ok, writers_failed, delivered_chunks, in_time_chunks, expected_chunks;
    uint64_t written, segments, requests, retries; /* the last two: inside the window */
    int first_bad_status;
} total;

static struct hist latency, control_latency, join_latency, write_lag, timer_lag, pass_time, write_time,
    first_byte, first_chunk;
static struct {
    int fd, state, status_delete, status_get, status_put;
    int64_t asked_ns, answered_ns, last_cut_ns;
    uint64_t cut, clean, chunks_after;
    char answer[512];
    size_t answer_bytes;
} deletion = {.fd = -1};

static struct object *objects;
static struct reader *readers;
static struct {
    int *index, first, count; /* a ring: all pause equally long, so the first is due first */
} paused;
static int epoll, reader_total;
static struct sockaddr_in server, writer_server; /* the same, or a proxy and the origin behind it */
static unsigned char *scratch;
static size_t scratch_bytes;
static int64_t window_start_ns = FOREVER, window_end_ns = FOREVER;
static uint32_t next_object_id;
static uint64_t random_state;
static bool ending;

static uint32_t random_below(uint32_t bound) {
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((random_state >> 33) % bound);
}

static bool in_window(uint64_t sent_ns) {
    return (int64_t)sent_ns >= window_start_ns && (int64_t)sent_ns < window_end_ns;
}

/* Chunks that a slot's first segment lacks: another number for each, so that the boundaries of all slots
 * are spread over a segment's time and not all their readers ask at once. */
static uint64_t segment_shift(int slot) {
    long long step = option.segment / option.objects;
    return (uint64_t)(slot * (step ? step : 1) % option.segment);
}

/* The name of the object that chunk `seq` of a slot is in. */
static uint32_t segment_id(int slot, uint64_t seq) {
    uint64_t number = (seq + segment_shift(slot)) / (uint64_t)option.segment;
    return (uint32_t)((uint64_t)slot + (uint64_t)option.objects * number);
}

static bool segment_begins(int slot, uint64_t seq) {
    return option.segment && (!seq || segment_id(slot, seq) != segment_id(slot, seq - 1));
}

/* The first chunk of the object `id`. */
static uint64_t segment_start(int slot, uint32_t id) {
    uint64_t number = id / (uint64_t)option.objects;
    return number ? number * (uint64_t)option.segment - segment_shift(slot) : 0;
}

/* Notes that chunk `seq` of the object exists; both faces (writer, or a reader of the floor) call it. */
static void object_grew(struct object *object, uint64_t seq, uint64_t sent_ns) {
    if (seq < object->next_seq) return;
    if (in_window(sent_ns)) {
        if (object->window_next == 0) object->window_first = seq;
        object->window_next = seq + 1;
    }
    object->next_seq = seq + 1;
}

/* Closes the books on a reader: what the window owed it and what it got. `in_flight` chunks are
 * forgiven where we broke the connection ourselves. */
static void reader_settle(struct reader *reader, uint64_t in_flight) {
    const struct object *object = &objects[reader->slot];
    uint64_t first = object->window_first > reader->first_seq ? object->window_first : reader->first_seq;
    uint64_t owed = object->window_next > first ? object->window_next - first : 0;
    owed = owed > in_flight ? owed - in_flight : 0;
    if (owed < reader->window_chunks) owed = reader->window_chunks;
    total.expected_chunks += owed;
    total.delivered_chunks += reader->window_chunks;
    total.in_time_chunks += reader->window_in_time;
    reader->window_chunks = reader->window_in_time = 0;
    reader->first_seq = UINT64_MAX; /* settled: a later call adds nothing */
}
#endif
