"""Servers of ours with a data dir, and folders that go with them."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.harness import OURS, Server, serve

__all__ = ["Place"]


@dataclass(frozen=True)
class Place:
    """Where data dirs are made, and what is started on them.

    Attributes:
        folder: on the disk that is measured; None: where temporary files are.
        command: what to test instead of ours, to which `--data FOLDER` is added.
    """

    folder: str | None
    command: str | None

    @contextmanager
    def dir(self) -> Iterator[Path]:
        """A new data dir, for the length of the block."""
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="bench-disk-") as folder:
            yield Path(folder, "data")

    @contextmanager
    def serve(
        self,
        name: str,
        data: Path | None,
        *,
        env: Mapping[str, str] | None = None,
        under: Sequence[str] = (),
    ) -> Iterator[Server]:
        """A server on that data dir, or in memory only.

        Args:
            under: a command that runs it, in a process that it becomes.
        """
        argv = [*under, *(shlex.split(self.command) if self.command else OURS)]
        if data is not None:
            argv += ["--data", str(data)]
        with serve(name, argv, env) as server:
            yield server

    @contextmanager
    def serve_timed(
        self, name: str, data: Path, env: Mapping[str, str]
    ) -> Iterator[tuple[Server, float]]:
        """The same, and the seconds from its process to its listening."""
        began_s = time.monotonic()
        with self.serve(name, data, env=env) as server:
            yield server, time.monotonic() - began_s
