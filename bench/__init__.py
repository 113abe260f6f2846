"""Benchmarks: one question a file, the floor or a peer beside it in the same run, losses shown.

    fanout.py    what does a delivered GiB cost, and how late is it? (beside the floor)
    churn.py     does all stay right when readers and writers vanish? (`fanout --churn`)
    deletion.py  are readers cut when the object is deleted under them? (`fanout --delete`)
    memory.py    what does a connection cost, and does the writer's pace depend on its readers?
    listing.py   do LIST, PUT and DELETE stay cheap at a million keys?
    requests.py  what does a small keep-alive GET cost? (beside hypercorn)

    harness.py   servers by pid, the generators, flags, JSON lines
    outcome.py   one fan-out run as figures, and whether it counts
    usage.py     CPU, memory and descriptors of a process; the machine
    build.py     compiles the C programs on first use, into the user's cache
    peers/       what ours is compared with

    loadgen.c    writers and readers in one epoll loop (gen_state.h, gen_reader.h, gen_writer.h)
    reqgen.c     a closed-loop request client
    floor.c      the least a fan-out can cost: raw sends of prebuilt frames (floor.py without cc)
    common.h     clock, histogram, payload, options

README.md has the caveats first, then the commands. Nothing here is part of the installed package.
"""

from __future__ import annotations

__all__: list[str] = []
