"""A gateway and its nodes on this machine, each a process with a disk of its own size."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.build import BenchError
from bench.harness import Server, serve
from chunkstore.cluster.local import make_secret
from chunkstore.cluster.meta import Manifest
from chunkstore.cluster.sign import Signer
from chunkstore.cluster.sqlite import SqliteMeta

__all__ = ["Cluster", "manifests", "run_cluster"]

_READY_S = 60.0
_LISTENING = re.compile(r"listening on http://([0-9.]+):(\d+)")
_UP = re.compile(r"node (\d+) at \S+ is up")
_PAGE_COUNT = 10_000


class Cluster(NamedTuple):
    """One that listens.

    Attributes:
        gateway: its process; `host` and `port` are of the listener for nodes.
        host, port: for clients.
        secret: of the cluster.
    """

    gateway: Server
    host: str
    port: int
    secret: bytes

    def nodes(self) -> list[dict[str, Any]]:
        """What nodes said last: `number`, `capacity_bytes`, `live_bytes` and others."""
        name, value = Signer(self.secret).field(
            "GET", "/status", now_s=time.time(), length=0, generation=None
        )
        link = http.client.HTTPConnection(self.gateway.host, self.gateway.port, timeout=30)
        with contextlib.closing(link):
            link.request("GET", "/status", headers={name: value})
            answer = link.getresponse()
            if answer.status != 200:
                raise BenchError(f"the gateway answers {answer.status} when asked for its nodes")
            found: list[dict[str, Any]] = json.loads(answer.read())["nodes"]
            return found


@contextlib.contextmanager
def run_cluster(folder: Path, disks_bytes: Sequence[int]) -> Iterator[Cluster]:
    """A gateway, and a node for each of these sizes, for the length of the block.

    Args:
        folder: where their data is, also behind the block.
        disks_bytes: what each node may take.
    Raises:
        BenchError: they don't come up.
    """
    shared = ["--log", "off", "--secret-file", str(make_secret(folder))]
    ours = [sys.executable, "-m", "chunkstore"]
    listen = ["--listen", "127.0.0.1:0"]
    at = ["--cluster-listen", "127.0.0.1:0", "--data", str(folder / "gateway")]
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(serve("gateway", [*ours, "gateway", *listen, *at, *shared]))
        join = ["--join", f"http://{gateway.host}:{gateway.port}"]
        for number, size in enumerate(disks_bytes, 1):
            own = ["--data", str(folder / f"node-{number}"), "--disk", str(size)]
            command = [*ours, "node", *listen, *join, *own, *shared]
            env = {"CHUNKSTORE_DISK_RESERVE": "0"}  # else it is most of so small a disk
            stack.enter_context(serve(f"node {number}", command, env))
        host, port = _wait_until_up(gateway, len(disks_bytes))
        yield Cluster(gateway, host, port, (folder / "secret").read_bytes().strip())


def _wait_until_up(gateway: Server, count: int) -> tuple[str, int]:
    deadline_s = time.monotonic() + _READY_S
    while time.monotonic() < deadline_s:
        said = "\n".join(gateway.last_lines)
        found = _LISTENING.search(said)
        if found and len(set(_UP.findall(said))) == count:
            return found[1], int(found[2])
        gateway.check()
        time.sleep(0.05)
    raise BenchError(f"not all of {count} nodes came up within {_READY_S:.0f} s")


def manifests(folder: Path) -> list[Manifest]:
    """What a cluster that was run there has; once its gateway has ended."""
    meta = SqliteMeta(folder / "gateway" / "meta.sqlite")
    try:
        found: list[Manifest] = []
        while page := meta.page(found[-1].generation if found else 0, _PAGE_COUNT):
            found += page
        return found
    finally:
        meta.close()
