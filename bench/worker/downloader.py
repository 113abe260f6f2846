"""Our side of the downloads: a manager that has a plan from stdin done, and says what it took."""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from pathlib import Path

from chunkstore.worker import DataChunk, DataManager, FileRecord, WorkerConfig

__all__: list[str] = []


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _main() -> None:
    plan = json.load(sys.stdin)
    chunks = [
        DataChunk(
            number.to_bytes(32),
            bytes(32),
            range(number, number + 1),
            {
                name: FileRecord(url, size_bytes, bytes.fromhex(digest))
                for name, (url, size_bytes, digest) in files.items()
            },
        )
        for number, files in enumerate(plan["chunks"])
    ]
    config = WorkerConfig(chunks_max=plan["at_a_time"], files_per_host=plan["at_a_time"])
    with DataManager(Path(plan["folder"]), config) as manager:
        cpu_s, began_s = _cpu_s(), time.monotonic()
        manager.set_desired(chunks)
        for chunk in chunks:
            manager.wait_for(chunk.id)
        report = {"wall_s": time.monotonic() - began_s, "cpu_s": _cpu_s() - cpu_s}
    # The peak of ru_maxrss may be of who started this process.
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    report["peak_bytes"] = int(found[1]) * 1024 if found else 0
    print(json.dumps(report))


if __name__ == "__main__":
    _main()
