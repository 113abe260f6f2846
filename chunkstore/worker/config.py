"""What a manager of chunks may use, and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WorkerConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """Limits of one manager; each has a unit in its name, and bounds that are checked.

    Attributes:
        chunks_max: chunks that are downloaded at a time.
        files_max: files at a time, of all chunks together.
        files_per_chunk: at a time, of one chunk.
        files_per_host: at a time from one host and port.
        quota_bytes: of the whole folder: what is whole, on its way and on its way out; None: what
            the disk has.
        reserve_bytes: of the disk that stay free.
        connect_s: for a connection.
        stall_s: for the next byte; there is no bound on the whole.
        retries: tries of a file after the first, as long as nothing moves on.
        backoff_s: pause of a chunk that failed and may do better; doubles up to `backoff_most_s`.
        backoff_most_s: as above.
        refuse_private: refuse addresses of loopback and private networks, redirects to them too.
    Raises:
        ValueError: names the one that is out of its bounds.
    """

    chunks_max: int = 8
    files_max: int = 16
    files_per_chunk: int = 4
    files_per_host: int = 8
    quota_bytes: int | None = None
    reserve_bytes: int = 256 * 2**20
    connect_s: float = 10.0
    stall_s: float = 30.0
    retries: int = 5
    backoff_s: float = 1.0
    backoff_most_s: float = 300.0
    refuse_private: bool = False

    def __post_init__(self) -> None:
        for name, least, most in (
            ("chunks_max", 1, 1024),
            ("files_max", 1, 1024),
            ("files_per_chunk", 1, 1024),
            ("files_per_host", 1, 1024),
            ("reserve_bytes", 0, 2**60),
            ("connect_s", 0.001, 3600),
            ("stall_s", 0.001, 3600),
            ("retries", 0, 1000),
            ("backoff_s", 0.001, 86400),
            ("backoff_most_s", self.backoff_s, 86400),
        ):
            value = getattr(self, name)
            if not name.endswith("_s") and not isinstance(value, int):
                raise ValueError(f"{name}: expected a whole number, got {value!r}")
            if not least <= value <= most:
                raise ValueError(f"{name}: expected {least} to {most}, got {value}")
        if self.quota_bytes is not None and self.quota_bytes < 1:
            raise ValueError(f"quota_bytes: expected 1 or more, got {self.quota_bytes}")
