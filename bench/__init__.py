"""Benchmarks: one question a file, the floor or a peer beside it in the same run, losses shown.

    __main__.py  lists the questions, asks one, or all
    fanout.py    what does a delivered GiB cost, and how late is it? (beside the floor)
    shapes.py    the same for 1 to 4096 readers of one writer, the join apart
    segments.py  the same, when players fetch a new segment every 2 s
    churn.py     does all stay right when readers and writers vanish? (`fanout --churn`)
    deletion.py  are readers cut when the object is deleted under them? (`fanout --delete`)
    tls.py       what does TLS cost a fan-out? (a client in Python)
    proxies.py   what do nginx and Varnish in front cost in latency?
    complete.py  what does a GET of a complete object cost?
    ingest.py    what does a GiB cost on its way in?
    scale.py     does a reader cost the same among thousands?
    memory.py    what does a connection cost, and does the writer's pace depend on its readers?
    listing.py   do LIST, PUT and DELETE stay cheap at a million keys?
    watch.py     how late is the picture of `chunkstore demo`, by its own watch view?
    glass.py     how late is the picture in a real player? (also at a tighter target)

    harness.py   servers by pid, the generators, flags, results, JSON lines
    interrupts.py Ctrl-C and SIGTERM, once and at the right moment
    front.py     nginx or Varnish in front, with the settings that docs/ has for them
    contest.py   who takes part, in which turns, and what each found
    report.py    REPORT.md from the raw results: in short, what is lost, then all of it
    tables.py    raw results as cases and as tables
    plots.py     ... and as plots
    outcome.py   one fan-out run as figures, and whether it counts
    usage.py     CPU, memory and descriptors of a process; the machine
    build.py     compiles the C programs on first use, into the user's cache
    peers/       what ours is compared with
    studio/      encoder, packager, browser, page: what stands around the origin in `glass`

    loadgen.c    writers and readers in one epoll loop (gen_state.h, gen_reader.h, gen_body.h,
                 gen_writer.h, gen_report.h)
    reqgen.c     a closed-loop request client
    follow.c     raw readers of a live stream, beside a player
    floor.c      the least a fan-out can cost: raw sends of prebuilt frames (floor.py without cc)
    common.h     clock, histogram, payload, options

README.md has the caveats first, then the commands. Nothing here is part of the installed package.
"""

from __future__ import annotations

__all__: list[str] = []
