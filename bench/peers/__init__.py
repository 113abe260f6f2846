"""The peers: each a minimal, honest read-while-write server at its best settings.

    asgi_app.py        the one ASGI application behind the next three
    uvicorn_app.py     ... on uvicorn, httptools and uvloop
    granian_app.py     ... on granian (Rust, hyper), one worker, uvloop
    hypercorn_app.py   ... on hypercorn's trio worker
    aiohttp_app.py     aiohttp's low-level server on uvloop
    node_app.mjs       node's http module, pushing to its readers
    naive_app.py       Trio + h11, a task a connection, an event a wait: what one would write first
    nginx_app.py       nginx and its dav module: complete objects only
    stored.py          an object as the servers on Python keep it
    listening.py       sockets, ports, and the line that says where one listens

A peer that isn't there says so in a sentence (`missing`). The Python ones come with the extra
`bench`, nginx and node from the distribution. None has what makes a product: no bound on memory, no
deadlines, no ranges, no conditionals, no cut for the slow. So each is favoured.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NGINX", "PEERS", "Peer", "find_program"]

NGINX = "nginx"
_HERE = Path(__file__).parent


def find_program(name: str) -> str | None:
    """Where a program is; daemons' folders count, which a user's PATH often lacks."""
    folders = [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"]
    return shutil.which(name, path=os.pathsep.join(folders))


@dataclass(frozen=True)
class Peer:
    """A server to compare with.

    Attributes:
        name: as reports show it.
        file: what is started, beside this one.
        live: it sends an object that is still being written.
        complete: it sends complete objects, with their length.
        modules: the packages it needs.
        program: the program it needs, or "".
    """

    name: str
    file: str
    live: bool = True
    complete: bool = True
    modules: tuple[str, ...] = ()
    program: str = ""

    def missing(self) -> str | None:
        """Why it can't run here, in a sentence; None if it can."""
        for module in self.modules:
            if importlib.util.find_spec(module) is None:
                return f"{module} is not installed (it comes with the extra `bench`)"
        if self.program and find_program(self.program) is None:
            return f"there is no program {self.program} here"
        return None

    def command(self) -> list[str]:
        """What `bench.harness.serve` starts, from the repository's root."""
        if self.file.endswith(".mjs"):
            return [find_program(self.program) or self.program, str(_HERE / self.file)]
        return [sys.executable, "-m", f"{__name__}.{self.file.removesuffix('.py')}"]


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("aiohttp", "aiohttp_app.py", modules=("aiohttp", "uvloop")),
        Peer("uvicorn", "uvicorn_app.py", modules=("uvicorn", "httptools", "uvloop")),
        Peer("granian", "granian_app.py", modules=("granian", "uvloop")),
        Peer("hypercorn", "hypercorn_app.py", modules=("hypercorn",)),
        Peer("node", "node_app.mjs", program="node"),
        Peer("naive", "naive_app.py"),
        Peer("nginx", "nginx_app.py", live=False, program=NGINX),
    )
}
