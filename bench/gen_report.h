/* The load generator's report, a line of JSON.
 *
 * Bytes expected, delivered and in time are the window's; `requests` and `retries` too (a retry is a
 * request as well); all else is of the whole run. `segments`: those that readers got whole and went on
 * from; `clean_ends`: readers that got all there was.
 */
#ifndef BENCH_GEN_REPORT_H
#define BENCH_GEN_REPORT_H
#include "gen_state.h"

#define U(name, value) printf(", \"" name "\": %llu", (unsigned long long)(value))
#define H(name) (printf(", "), hist_print(stdout, #name, &name))

static void report(double generator_cpu_s, uint64_t window_bytes, uint64_t not_live) {
    double seconds = (double)option.seconds_ms / 1e3;
    printf("{\"report\": true, \"seconds\": %.3f, \"generator_cpu\": %.4f", seconds,
           seconds > 0 ? generator_cpu_s / seconds : 0.0);
    U("window_bytes", window_bytes);
    U("expected_bytes", total.expected_chunks * (uint64_t)option.chunk);
    U("delivered_bytes", total.delivered_chunks * (uint64_t)option.chunk);
    U("in_time_bytes", total.in_time_chunks * (uint64_t)option.chunk);
    U("written_bytes", total.written);
    U("received_bytes", total.received);
    U("checked_bytes", total.checked_bytes);
    U("wrong", total.wrong_bytes + total.wrong_frames);
    U("http_chunks", total.http_chunks);
    U("broken_boundaries", total.broken_boundaries);
    U("readers", option.objects * option.readers);
    U("not_live", not_live);
    U("cut", total.cut);
    U("refused", total.refused);
    U("cut_late", total.cut_late);
    U("hung", total.hung);
    U("clean_ends", total.clean_ends);
    U("false_ends", total.false_ends);
    U("segments", total.segments);
    U("requests", total.requests);
    U("retries", total.retries);
    U("left", total.left);
    U("killed", total.killed);
    U("cut_by_kill", total.cut_by_kill);
    U("refused_by_kill", total.kills_refused);
    U("stalled_cut", total.stalled_cut);
    U("writers_ok", total.writers_ok);
    U("writers_failed", total.writers_failed);
    U("first_bad_status", total.first_bad_status);
    H(latency);
    H(control_latency);
    H(join_latency);
    H(first_byte);
    H(first_chunk);
    H(write_lag);
    H(write_time);
    H(timer_lag);
    H(pass_time);
    if (option.delete_at_ms) {
        printf(", \"deletion\": {\"status\": %d, \"get_status\": %d, \"put_status\": %d, \"cut\": %llu, "
               "\"clean\": %llu, \"chunks_after\": %llu, \"slowest_cut_ms\": %.3f}",
               deletion.status_delete, deletion.status_get, deletion.status_put,
               (unsigned long long)deletion.cut, (unsigned long long)deletion.clean,
               (unsigned long long)deletion.chunks_after,
               deletion.cut ? (double)(deletion.last_cut_ns - deletion.asked_ns) / 1e6 : 0.0);
    }
    printf("}\n");
}
#endif
