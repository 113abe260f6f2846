/* The load generator of bench/: writers, readers and their clocks in one epoll loop.
 *
 * Prints one JSON object a line: {"mark": ...} as the run passes its stages ("joining", "joined",
 * "end": the harness samples the server at these) and a last one with the report. Everything is timed by
 * CLOCK_MONOTONIC in this one process. Its own lag is part of the report: `write_lag` (a chunk sent later
 * than due), `timer_lag` (any timer late), `pass` (time spent on one batch of events): the harness voids
 * a run in which it was large.
 */
#include "gen_state.h"
#include "gen_report.h"
#include "gen_writer.h"

#define BATCH 64
#define TICK_NS (10 * NS_PER_MS)
/* Who is being sent a dead writer's object must be cut within 2 s of the next one's start. A GET that
 * crosses the death may be held for a retry, 2 s by policy, before it has a head: then it is a 404. */
#define LATE_NS(reader) ((reader)->state == R_BODY ? 2 * NS_PER_S : 4 * NS_PER_S)

enum stage { LEAD, JOINING, SETTLING, WINDOW, DRAINING, OVER };
static struct {
    enum stage stage;
    int64_t start_ns, join_start_ns, stage_ends_ns, tick_ns, leave_ns, kill_ns;
    int next_join;
    uint64_t received_joined, received_end, not_live;
    double cpu_joined, cpu_end;
} run;

static void mark(const char *name, int64_t now) {
    printf("{\"mark\": \"%s\", \"at_ns\": %lld, \"received_bytes\": %llu}\n", name, (long long)now,
           (unsigned long long)total.received);
    fflush(stdout);
}

static uint64_t not_live_count(void) {
    uint64_t count = 0;
    for (int index = 0; index < reader_total; index++)
        count += !readers[index].is_stalled && readers[index].state != R_OVER && !readers[index].is_live;
    return count;
}

static bool all_over(void) {
    for (int index = 0; index < reader_total; index++)
        if (readers[index].state != R_OVER && !readers[index].is_stalled) return false;
    for (int index = 0; index < option.objects; index++)
        if (objects[index].state >= O_CONNECTING && objects[index].state <= O_ENDING) return false;
    return true;
}

static void stage_next(int64_t now) {
    switch (run.stage) {
    case LEAD:
        run.stage = JOINING;
        run.join_start_ns = now;
        mark("joining", now);
        run.stage_ends_ns = now + option.join_ms * NS_PER_MS + 10 * NS_PER_S;
        break;
    case JOINING:
        run.stage = SETTLING;
        run.stage_ends_ns = now + option.settle_ms * NS_PER_MS;
        break;
    case SETTLING:
        run.stage = WINDOW;
        run.not_live = not_live_count();
        run.received_joined = total.received;
        run.cpu_joined = cpu_s();
        window_start_ns = now;
        window_end_ns = run.stage_ends_ns = now + option.seconds_ms * NS_PER_MS;
        run.leave_ns = option.churn_percent_s && reader_total ? now : FOREVER;
        run.kill_ns = option.kills_per_s ? now + NS_PER_S / 2 : FOREVER;
        mark("joined", now);
        break;
    case WINDOW:
        run.stage = DRAINING;
        run.received_end = total.received;
        run.cpu_end = cpu_s();
        run.leave_ns = run.kill_ns = FOREVER;
        ending = true;
        mark("end", now);
        run.stage_ends_ns = now + option.drain_ms * NS_PER_MS;
        break;
    default: run.stage = OVER;
    }
}

/* Readers of every object join in turn, evenly over the window. */
static int64_t join_due(int index) {
    return run.join_start_ns + option.join_ms * NS_PER_MS * index / (reader_total ? reader_total : 1);
}

static void leave_one(int64_t now) {
    int live = (int)(option.objects * option.readers);
    struct reader *reader = &readers[random_below((uint32_t)live)];
    run.leave_ns += NS_PER_S * 100 / (option.churn_percent_s * live);
    if (reader->state != R_BODY || !reader->is_live || writer_is_gone(reader)) return;
    total.left++;
    reader_leave(reader, now, 1);
}

/* Every 10 ms: readers due again, readers left hanging on a killed writer, and our own punctuality. */
static void tick(int64_t now) {
    hist_add(&timer_lag, now - run.tick_ns);
    run.tick_ns = now + TICK_NS;
    if (option.churn_percent_s || option.kills_per_s) {
        for (int index = 0; index < run.next_join; index++) {
            struct reader *reader = &readers[index];
            if (reader->state == R_WAITING && ending) reader->state = R_OVER;
            else if (reader->state == R_WAITING && reader->due_ns <= now) reader_join(index, now);
            else if (reader->fd >= 0 && writer_is_gone(reader) &&
                     now - objects[reader->slot].started_ns > LATE_NS(reader)) {
                total.cut_late++;
                reader_leave(reader, now, UINT64_MAX);
            }
        }
    }
    if (run.stage == JOINING && run.next_join == reader_total && !not_live_count()) stage_next(now);
    if (run.stage == DRAINING && (option.writers ? all_over() : now > window_end_ns + 500 * NS_PER_MS))
        run.stage = OVER;
}

/* Does what is due; returns when the next thing is. */
static int64_t timers(int64_t now) {
    if (run.tick_ns <= now) tick(now);
    if (run.stage_ends_ns <= now) stage_next(now);
    int64_t next = run.tick_ns < run.stage_ends_ns ? run.tick_ns : run.stage_ends_ns;
    for (int index = 0; index < option.objects && option.writers; index++) {
        struct object *object = &objects[index];
        if (object->state == O_IDLE) {
            if (object->due_ns <= now) writer_start(index, now);
            else if (object->due_ns < next) next = object->due_ns;
        } else if (object->state == O_OPEN && object->sent_bytes == object->frame_bytes) {
            if (object->due_ns <= now) writer_due(index, now);
            if (object->due_ns < next) next = object->due_ns;
        }
    }
    while (run.stage == JOINING && run.next_join < reader_total && join_due(run.next_join) <= now) {
        hist_add(&timer_lag, now_ns() - join_due(run.next_join));
        reader_join(run.next_join++, now_ns());
    }
    if (run.stage == JOINING && run.next_join < reader_total && join_due(run.next_join) < next)
        next = join_due(run.next_join);
    int64_t pause_ends_ns = pauses_end(now);
    if (pause_ends_ns < next) next = pause_ends_ns;
    while (run.leave_ns <= now) leave_one(now);
    if (run.leave_ns < next) next = run.leave_ns;
    if (run.kill_ns <= now) {
        run.kill_ns += NS_PER_S / option.kills_per_s;
        writer_kill((int)random_below((uint32_t)option.objects), now);
    }
    if (run.kill_ns < next) next = run.kill_ns;
    if (option.delete_at_ms && !deletion.asked_ns && run.stage == WINDOW) {
        int64_t due = window_start_ns + option.delete_at_ms * NS_PER_MS;
        if (due <= now) deletion_start(now);
        else if (due < next) next = due;
    }
    return next;
}

static void loop(void) {
    struct epoll_event events[BATCH];
    while (run.stage != OVER) {
        int count = epoll_until(epoll, events, BATCH, timers(now_ns()));
        int64_t began = now_ns();
        for (int at = 0; at < count; at++) {
            int index = (int)(uint32_t)events[at].data.u64;
            switch (events[at].data.u64 >> 32) {
            case TAG_WRITER: writer_ready(index, events[at].events); break;
            case TAG_READER: reader_ready(index, events[at].events); break;
            default: deletion_ready();
            }
            if (at % 8 == 7) timers(now_ns()); /* a chunk that is due doesn't wait for 64 receipts */
        }
        if (run.stage == WINDOW && count) hist_add(&pass_time, now_ns() - began);
    }
    for (int index = 0; index < reader_total; index++) {
        struct reader *reader = &readers[index];
        if (reader->is_stalled) continue;
        if (reader->state != R_OVER && option.writers) total.hung++;
        reader_settle(reader, 0);
    }
}

static void prepare(void) {
    if (!option.port || !option.objects || !option.rate || !option.check_one_in)
        die("port, objects, rate and check-one-in must be at least 1");
    if (option.chunk < 64) die("chunk must be at least 64 bytes");
    if (option.segment && (!option.writers || option.churn_percent_s || option.kills_per_s ||
                           option.delete_at_ms || option.stalled))
        die("segments need writers, and nobody who stalls, leaves, kills or deletes");
    reader_total = (int)(option.objects * option.readers + option.stalled);
    descriptors_raise(reader_total + option.objects + 64);
    server = address_of(option.host, option.port);
    writer_server = address_of(option.host, option.writer_port ? option.writer_port : option.port);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    random_state = (uint64_t)option.seed;
    pattern_init((size_t)option.chunk);
    scratch_bytes = (size_t)option.chunk + 1024 > 262144 ? (size_t)option.chunk + 1024 : 262144;
    scratch = need(malloc(scratch_bytes));
    objects = need(calloc((size_t)option.objects, sizeof *objects));
    readers = need(calloc((size_t)reader_total + 1, sizeof *readers));
    paused.index = need(calloc((size_t)reader_total + 1, sizeof *paused.index));
    run.start_ns = now_ns();
    for (int index = 0; index < option.objects; index++) {
        struct object *object = &objects[index];
        object->fd = -1;
        object->id = (uint32_t)index;
        object->due_ns = run.start_ns + NS_PER_S / option.rate * index / option.objects;
        object->frame = need(malloc((size_t)option.chunk + 1024));
    }
    for (int index = 0; index < reader_total; index++) {
        readers[index].fd = -1;
        readers[index].slot = index % (int)option.objects;
        readers[index].is_checked = index / option.objects % option.check_one_in == 0;
        /* Half of them, in each slot, and half of those that are checked. */
        readers[index].is_keep_alive = (index / option.objects + index % option.objects) % 2 == 0;
        readers[index].is_stalled = index >= option.objects * option.readers;
    }
    run.tick_ns = run.start_ns + TICK_NS;
    run.stage_ends_ns = run.start_ns + option.lead_ms * NS_PER_MS;
    run.leave_ns = run.kill_ns = FOREVER;
}

int main(int argc, char **argv) {
    const struct option_row rows[] = {
        {"--host", NULL, &option.host},
        {"--port", &option.port, NULL},
        {"--writer-port", &option.writer_port, NULL}, /* where objects are written, if elsewhere */
        {"--prefix", NULL, &option.prefix},
        {"--writers", &option.writers, NULL}, /* 0: the server makes its own objects (the floor) */
        {"--objects", &option.objects, NULL},
        {"--readers", &option.readers, NULL},
        {"--chunk", &option.chunk, NULL},
        {"--rate", &option.rate, NULL},
        {"--segment", &option.segment, NULL}, /* chunks an object; 0: endless */
        {"--retry-ms", &option.retry_ms, NULL},
        {"--give-up-ms", &option.give_up_ms, NULL},
        {"--seconds-ms", &option.seconds_ms, NULL},
        {"--join-ms", &option.join_ms, NULL},
        {"--lead-ms", &option.lead_ms, NULL},
        {"--settle-ms", &option.settle_ms, NULL},
        {"--churn-percent", &option.churn_percent_s, NULL},
        {"--kills", &option.kills_per_s, NULL},
        {"--stalled", &option.stalled, NULL},
        {"--delete-at-ms", &option.delete_at_ms, NULL},
        {"--check-one-in", &option.check_one_in, NULL},
        {"--late-ms", &option.late_ms, NULL},
        {"--drain-ms", &option.drain_ms, NULL},
        {"--seed", &option.seed, NULL},
        {NULL, NULL, NULL}};
    die_with_parent();
    options_read(argc, argv, rows);
    prepare();
    loop();
    report(run.cpu_end - run.cpu_joined, run.received_end - run.received_joined, run.not_live);
    return 0;
}
