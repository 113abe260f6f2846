"""Every setting, declared once: unit in the name, default, bounds, reason.

From the fields of `Settings` come the flags of the servers, the CHUNKSTORE_* variables of
the environment, the keys of a settings file, what `chunkstore config` prints, and the README's
table. Outside, a setting is called by its `key`: the field's name without its unit, since a value
written by a person carries its own ("256MiB", "500ms").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from chunkstore.auth import Token
from chunkstore.config.cluster import ClusterSettings
from chunkstore.config.exposure import check_exposure
from chunkstore.config.listen import ListenAddress, parse_listen
from chunkstore.config.setting import YEAR_S, Setting, declare
from chunkstore.config.worker import WorkerSettings
from chunkstore.policy import Policy, PolicyRow, PolicyTable

__all__ = ["SETTINGS", "Settings"]

_IN_MEMORY_BYTES = 256 * 2**20
_ON_DISK_BYTES = 2**50


@dataclass(frozen=True, kw_only=True)
class Settings(ClusterSettings, WorkerSettings):
    """The settings of one server, checked: an instance that exists is within its bounds.

    Raises:
        SettingsError: a value out of its bounds, or what others could do was left unsaid.
    """

    listen: tuple[str, ...] = declare(
        "listen",
        ("127.0.0.1:8080",),
        "Addresses to serve on: HOST:PORT, [V6]:PORT or unix:PATH; port 0 takes a free one.",
        least=1,
        is_flag=True,
    )
    admin: tuple[str, ...] = declare(
        "listen",
        (),
        "Addresses of the operator's listener: metrics, health, events; none: off.",
        is_flag=True,
    )
    tls_cert: str | None = declare(
        "path",
        None,
        "Certificate chain in PEM: speak TLS; read again at SIGHUP.",
        is_flag=True,
        commands=("serve", "gateway", "worker"),
    )
    tls_key: str | None = declare(
        "path",
        None,
        "The certificate's private key in PEM, without a password.",
        is_flag=True,
        commands=("serve", "gateway", "worker"),
    )
    open_writes: bool = declare(
        "switch",
        False,
        "Let anybody who can reach a listener beyond loopback write and delete.",
        is_flag=True,
        commands=("serve", "gateway", "worker"),
    )
    open_reads: bool = declare(
        "switch",
        True,
        "Let anybody read and list; false: it takes a token or a signed URL.",
        commands=("serve", "gateway", "worker"),
    )
    sign_key_file: str | None = declare(
        "path",
        None,
        "File with the keys of signed URLs, one a line.",
        is_flag=True,
        commands=("serve", "gateway", "worker"),
    )
    memory_bytes: int = declare(
        "size",
        2**30,
        "Budget for all objects together; past it the least recently used go, then PUTs get 507.",
        least=1,
        most=2**50,
        is_flag=True,
        commands=("serve", "node", "gateway"),
    )
    data: str | None = declare(
        "path",
        None,
        "Folder that objects are kept in, through restarts; none: they are in memory alone.",
        is_flag=True,
    )
    sync: Literal["close", "always", "none"] = declare(
        "choice",
        "close",
        "When the disk must have it: close: before the 201; always: each run, too; none: some day.",
        choices=("close", "always", "none"),
        is_flag=True,
        commands=("serve", "node"),
    )
    disk_bytes: int | None = declare(
        "size",
        None,
        "Most that the data folder may take; past it PUTs get 507; none: all there is.",
        least=2**26,
        most=2**60,
        is_flag=True,
        commands=("serve", "node"),
    )
    disk_reserve_bytes: int = declare(
        "size",
        256 * 2**20,
        "Room on the disk, or of `disk`, that no new upload may take: deleting needs some, too.",
        least=0,
        most=2**50,
        commands=("serve", "node", "worker"),
    )
    scrub_s: float | None = declare(
        "duration",
        None,
        "Read all that is stored once in so long, and report damage; none: never by itself.",
        least=60,
        most=10 * YEAR_S,
        is_flag=True,
        commands=("serve", "node"),
    )
    max_object_bytes: int | None = declare(
        "size",
        None,
        "Largest object, past it 413; none: 256 MiB, or with `data` what the disk takes.",
        least=1,
        most=2**50,
        is_flag=True,
        commands=("serve", "node", "gateway"),
    )
    max_objects: int = declare(
        "count",
        1_000_000,
        "Most objects at a time; past it PUTs get 507.",
        least=1,
        most=10**9,
        commands=("serve", "node", "gateway"),
    )
    ttl_s: float | None = declare(
        "duration",
        None,
        "Age at which a complete object expires, where no policy says otherwise; none: never.",
        least=0.001,
        most=10 * YEAR_S,
        is_flag=True,
        commands=("serve", "gateway"),
    )
    max_connections: int = declare(
        "count",
        16_384,
        "Most connections at a time; the limit on open files is raised to fit.",
        least=1,
        most=1_000_000,
        is_flag=True,
    )
    head_bytes: int = declare(
        "size",
        65_536,
        "Largest request head; past it 431.",
        least=256,
        most=2**24,
        key="max_head",
    )
    max_fields: int = declare(
        "count", 100, "Most header fields in a request; past it 431.", least=1, most=10_000
    )
    target_bytes: int = declare(
        "size",
        8_192,
        "Longest request line; past it 414.",
        least=64,
        most=2**20,
        key="max_target",
    )
    header_timeout_s: float = declare(
        "duration",
        10.0,
        "From a request's first byte to the end of its head; a slower one gets 408.",
        least=0.001,
        most=3600,
        is_flag=True,
    )
    idle_timeout_s: float = declare(
        "duration",
        75.0,
        "How long a connection may wait between requests; an encoder waits a whole segment.",
        least=0.001,
        most=86400,
        is_flag=True,
        key="idle",
    )
    upload_idle_s: float = declare(
        "duration",
        20.0,
        "How long an upload may send nothing before its writer counts as dead.",
        least=0.001,
        most=86400,
        is_flag=True,
        commands=("serve", "node", "gateway"),
    )
    reader_stall_s: float = declare(
        "duration",
        10.0,
        "How long a reader may take no bytes that wait for it before it is cut.",
        least=0.001,
        most=3600,
    )
    drain_s: float = declare(
        "duration",
        10.0,
        "How long running requests may go on after SIGTERM.",
        least=0,
        most=3600,
    )
    hold_cap_s: float = declare(
        "duration",
        5.0,
        "Longest wait of a GET for a name that doesn't exist yet.",
        least=0,
        most=3600,
        commands=("serve", "node", "gateway"),
    )
    max_waiters: int = declare(
        "count",
        10_000,
        "Most GETs that wait for a name at a time; past it 503.",
        least=0,
        most=1_000_000,
        commands=("serve", "node", "gateway"),
    )
    discard_s: float = declare(
        "duration",
        20.0,
        "How long the body of a refused upload is read away so that its connection can live on.",
        least=0,
        most=3600,
    )
    send_buffer_bytes: int = declare(
        "size",
        512 * 1024,
        "SO_SNDBUF of each connection: what the kernel holds for a slow reader.",
        least=4096,
        most=2**30,
    )
    backlog: int = declare(
        "count", 4_096, "Connections the kernel queues before accept.", least=1, most=65_535
    )
    log: str = declare(
        "choice",
        "auto",
        "One line per request on stderr: human, json, off; auto: human on a terminal, else json.",
        choices=("auto", "human", "json", "off"),
        is_flag=True,
    )
    policies: tuple[PolicyRow, ...] = declare(
        "policies",
        (),
        "Rows of what holds for which names, before the built-in ones; file only.",
        commands=("serve", "gateway"),
    )
    tokens: tuple[Token, ...] = declare(
        "tokens",
        (),
        "Rows of who may do what, as `chunkstore token` prints them.",
        key="token",
        commands=("serve", "gateway", "worker"),
    )

    def __post_init__(self) -> None:
        for setting in SETTINGS:
            setting.check(getattr(self, setting.name), setting.key)
        check_exposure(self)

    @property
    def addresses(self) -> tuple[ListenAddress, ...]:
        """`listen`, parsed."""
        return tuple(parse_listen(text) for text in self.listen)

    @property
    def admin_addresses(self) -> tuple[ListenAddress, ...]:
        """`admin`, parsed."""
        return tuple(parse_listen(text) for text in self.admin)

    @property
    def object_limit_bytes(self) -> int:
        """`max_object` for names of which no policy says more."""
        if self.max_object_bytes is not None:
            return self.max_object_bytes
        return _IN_MEMORY_BYTES if self.data is None else self.disk_bytes or _ON_DISK_BYTES

    @property
    def largest_object_bytes(self) -> int:
        """The largest size that `max_object`, here or in a policy, allows any object."""
        own = [row.sets.get("max_object_bytes") or 0 for row in self.policies]
        return max(self.object_limit_bytes, *own, 0)

    def policy_table(self) -> PolicyTable:
        """The rows in force over these settings: its policies leave no value to be looked up."""
        base = Policy(
            ttl_s=self.ttl_s,
            max_object_bytes=self.object_limit_bytes,
            upload_idle_s=self.upload_idle_s,
            evict=self.data is None,  # what is on disk goes only where a row says so
        )
        return PolicyTable(self.policies, base=base, is_private=not self.open_reads)


def _declared() -> Iterator[Setting]:
    of_one_kind = [*fields(ClusterSettings), *fields(WorkerSettings)]
    names = {item.name for item in of_one_kind}
    of_all = [item for item in fields(Settings) if item.name not in names]
    for item in [*of_all, *of_one_kind]:
        facts = dict(item.metadata)
        key = facts.pop("key") or re.sub(r"_(s|bytes)$", "", item.name)
        yield Setting(name=item.name, key=key, default=item.default, **facts)


SETTINGS: tuple[Setting, ...] = tuple(_declared())
