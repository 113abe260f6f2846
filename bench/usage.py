"""What a process has used, and what it ran on: all from /proc, so Linux only.

CPU seconds are user + system of a process, its threads and all its descendants, to the nanosecond
where the kernel keeps schedstat and no thread has ended (else to 10 ms); memory is the resident set
of the same processes, which leaves out the kernel's socket buffers.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.build import BenchError

__all__ = [
    "Usage",
    "family",
    "is_running",
    "kernel_socket_bytes",
    "machine",
    "machine_busy_s",
    "need_descriptors",
    "usage",
]

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """CPU seconds, resident bytes and open descriptors of a process and its descendants."""

    cpu_s: float
    resident_bytes: int
    descriptor_count: int


def usage(pid: int) -> Usage:
    """What `pid` and its descendants have used; zeros for those that have ended."""
    cpu_s, resident_bytes, descriptor_count = 0.0, 0, 0
    for member in family(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = _stat_fields(member)
            # utime, stime, and the two of the children that were waited for
            ticks_s = sum(int(ticks) for ticks in fields[11:15]) / _TICKS_PER_S
            cpu_s += max(ticks_s, _scheduled_s(member))
            resident_bytes += int(fields[21]) * _PAGE_BYTES
            descriptor_count += len(os.listdir(f"/proc/{member}/fd"))
    return Usage(cpu_s, resident_bytes, descriptor_count)


def _scheduled_s(pid: int) -> float:
    """The same to the nanosecond, but without threads and children that have ended; or 0."""
    total_ns = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total_ns += int((thread / "schedstat").read_text().split()[0])
    return total_ns / 1e9


def _stat_fields(pid: int) -> list[str]:
    """/proc/PID/stat from its third field on; the name before it may contain anything."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def family(pid: int) -> list[int]:
    """`pid` first, then all its descendants that are alive."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                children.setdefault(int(_stat_fields(int(entry))[1]), []).append(int(entry))
    family = [pid]
    for member in family:  # grows while it is walked
        family.extend(children.get(member, ()))
    return family


def is_running(pid: int) -> bool:
    """It has not ended; one that has may still wait to be reaped by who inherited it."""
    try:
        return _stat_fields(pid)[0] != "Z"
    except OSError:
        return False


def machine_busy_s() -> float:
    """CPU seconds that all cores together have worked since boot, for whomever."""
    ticks = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle_ticks = ticks[3] + ticks[4]  # the fifth is waiting for disks
    return (sum(ticks) - idle_ticks) / _TICKS_PER_S


def kernel_socket_bytes() -> int:
    """What TCP's buffers hold on the whole machine, both ends of loopback included."""
    found = re.search(r"^TCP:.* mem (\d+)", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    return int(found[1]) * _PAGE_BYTES if found else 0


def need_descriptors(count: int) -> None:
    """Raises our soft limit to `count`, or raises BenchError saying what the hard one is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
    except (ValueError, OSError) as error:
        raise BenchError(f"needs {count} file descriptors, the limit is {hard}") from error


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    models = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
