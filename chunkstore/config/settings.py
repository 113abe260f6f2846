"""Every setting, declared once: unit in the name, default, bounds, reason.

From the fields of `Settings` come the flags of `chunkstore serve`, the CHUNKSTORE_* variables of
the environment, the keys of a settings file, what `chunkstore config` prints, and the README's
table. Outside, a setting is called by its `key`: the field's name without its unit, since a value
written by a person carries its own ("256MiB", "500ms").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from chunkstore.auth import MAX_TOKENS, Token
from chunkstore.config.exposure import check_exposure
from chunkstore.config.listen import ListenAddress, parse_listen
from chunkstore.errors import SettingsError
from chunkstore.policy import Policy, PolicyRow, PolicyTable
from chunkstore.units import format_duration, format_size

__all__ = ["ENVIRONMENT_PREFIX", "SETTINGS", "Setting", "Settings", "format_value"]

ENVIRONMENT_PREFIX = "CHUNKSTORE_"

_MAX_ROWS = 1_000
_MAX_LISTENERS = 64
_IN_MEMORY_BYTES = 256 * 2**20
_ON_DISK_BYTES = 2**50
_YEAR_S = 365 * 86400.0

Kind = Literal[
    "listen", "switch", "size", "count", "duration", "choice", "path", "policies", "tokens"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting as people meet it; `SETTINGS` has them all, in order.

    Args:
        name: field of Settings.
        key: its name in a file; its flag and its variable are made from it.
        kind: how its value is written.
        default: the value where nobody says otherwise; None: unset.
        minimum: smallest value, in the unit of its name.
        maximum: largest value, in the unit of its name.
        choices: the words allowed for kind "choice".
        is_flag: `chunkstore serve` has a flag for it.
        reason: what it is for, one sentence.
    """

    name: str
    key: str
    kind: Kind
    default: Any
    minimum: float
    maximum: float
    choices: tuple[str, ...]
    is_flag: bool
    reason: str

    @property
    def flag(self) -> str:
        """The name of its flag."""
        return "--" + self.key.replace("_", "-")

    @property
    def variable(self) -> str:
        """The name of its variable in the environment."""
        return ENVIRONMENT_PREFIX + self.key.upper()

    @property
    def is_rows(self) -> bool:
        """It is made of rows, which only a settings file can have."""
        return self.kind in ("policies", "tokens")

    def check(self, value: Any, where: str) -> None:  # noqa: ANN401 - its type follows from `kind`
        """Hold a value of the right type against the bounds.

        Raises:
            SettingsError: out of bounds; `where` is its place.
        """
        if self.kind == "listen":
            if not self.minimum <= len(value) <= _MAX_LISTENERS:
                raise SettingsError(
                    where, f"expected {self.minimum:g} to {_MAX_LISTENERS} addresses"
                )
            for text in value:
                try:
                    parse_listen(text)
                except ValueError as error:
                    raise SettingsError(where, str(error)) from None
        elif self.kind == "choice" and value not in self.choices:
            raise SettingsError(where, f"expected one of {', '.join(self.choices)}, got {value!r}")
        elif self.is_rows:
            count = _MAX_ROWS if self.kind == "policies" else MAX_TOKENS
            if len(value) > count:
                raise SettingsError(where, f"expected at most {count} rows, got {len(value)}")
        elif self.maximum and value is not None and not self.minimum <= value <= self.maximum:
            least, most = format_value(self, self.minimum), format_value(self, self.maximum)
            got = format_value(self, value)
            raise SettingsError(where, f"expected {least} to {most}, got {got}")


def _setting(
    kind: Kind,
    default: object,
    reason: str,
    *,
    least: float = 0,
    most: float = 0,
    choices: tuple[str, ...] = (),
    key: str | None = None,
    is_flag: bool = False,
) -> Any:  # noqa: ANN401 - a dataclass field stands for a value of the annotated type
    metadata = {
        "kind": kind,
        "reason": reason,
        "minimum": least,
        "maximum": most,
        "choices": choices,
        "key": key,
        "is_flag": is_flag,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one server, checked: an instance that exists is within its bounds.

    Raises:
        SettingsError: a value out of its bounds, or what others could do was left unsaid.
    """

    listen: tuple[str, ...] = _setting(
        "listen",
        ("127.0.0.1:8080",),
        "Addresses to serve on: HOST:PORT, [V6]:PORT or unix:PATH; port 0 takes a free one.",
        least=1,
        is_flag=True,
    )
    admin: tuple[str, ...] = _setting(
        "listen",
        (),
        "Addresses of the operator's listener: metrics, health, events; none: off.",
        is_flag=True,
    )
    tls_cert: str | None = _setting(
        "path", None, "Certificate chain in PEM: speak TLS; read again at SIGHUP.", is_flag=True
    )
    tls_key: str | None = _setting(
        "path", None, "The certificate's private key in PEM, without a password.", is_flag=True
    )
    open_writes: bool = _setting(
        "switch",
        False,
        "Let anybody who can reach a listener beyond loopback write and delete.",
        is_flag=True,
    )
    open_reads: bool = _setting(
        "switch", True, "Let anybody read and list; false: it takes a token or a signed URL."
    )
    sign_key_file: str | None = _setting(
        "path", None, "File with the keys of signed URLs, one a line.", is_flag=True
    )
    memory_bytes: int = _setting(
        "size",
        2**30,
        "Budget for all objects together; past it the least recently used go, then PUTs get 507.",
        least=1,
        most=2**50,
        is_flag=True,
    )
    data: str | None = _setting(
        "path",
        None,
        "Folder that objects are kept in, through restarts; none: they are in memory alone.",
        is_flag=True,
    )
    sync: Literal["close", "always", "none"] = _setting(
        "choice",
        "close",
        "When the disk must have it: close: before the 201; always: each run, too; none: some day.",
        choices=("close", "always", "none"),
        is_flag=True,
    )
    disk_bytes: int | None = _setting(
        "size",
        None,
        "Most that the data folder may take; past it PUTs get 507; none: all there is.",
        least=2**26,
        most=2**60,
        is_flag=True,
    )
    disk_reserve_bytes: int = _setting(
        "size",
        256 * 2**20,
        "Room on the disk, or of `disk`, that no new upload may take: deleting needs some, too.",
        least=0,
        most=2**50,
    )
    scrub_s: float | None = _setting(
        "duration",
        None,
        "Read all that is stored once in so long, and report damage; none: never by itself.",
        least=60,
        most=10 * _YEAR_S,
        is_flag=True,
    )
    max_object_bytes: int | None = _setting(
        "size",
        None,
        "Largest object, past it 413; none: 256 MiB, or with `data` what the disk takes.",
        least=1,
        most=2**50,
        is_flag=True,
    )
    max_objects: int = _setting(
        "count", 1_000_000, "Most objects at a time; past it PUTs get 507.", least=1, most=10**9
    )
    ttl_s: float | None = _setting(
        "duration",
        None,
        "Age at which a complete object expires, where no policy says otherwise; none: never.",
        least=0.001,
        most=10 * _YEAR_S,
        is_flag=True,
    )
    max_connections: int = _setting(
        "count",
        16_384,
        "Most connections at a time; the limit on open files is raised to fit.",
        least=1,
        most=1_000_000,
        is_flag=True,
    )
    head_bytes: int = _setting(
        "size",
        65_536,
        "Largest request head; past it 431.",
        least=256,
        most=2**24,
        key="max_head",
    )
    max_fields: int = _setting(
        "count", 100, "Most header fields in a request; past it 431.", least=1, most=10_000
    )
    target_bytes: int = _setting(
        "size",
        8_192,
        "Longest request line; past it 414.",
        least=64,
        most=2**20,
        key="max_target",
    )
    header_timeout_s: float = _setting(
        "duration",
        10.0,
        "From a request's first byte to the end of its head; a slower one gets 408.",
        least=0.001,
        most=3600,
        is_flag=True,
    )
    idle_timeout_s: float = _setting(
        "duration",
        75.0,
        "How long a connection may wait between requests; an encoder waits a whole segment.",
        least=0.001,
        most=86400,
        is_flag=True,
        key="idle",
    )
    upload_idle_s: float = _setting(
        "duration",
        20.0,
        "How long an upload may send nothing before its writer counts as dead.",
        least=0.001,
        most=86400,
        is_flag=True,
    )
    reader_stall_s: float = _setting(
        "duration",
        10.0,
        "How long a reader may take no bytes that wait for it before it is cut.",
        least=0.001,
        most=3600,
    )
    drain_s: float = _setting(
        "duration",
        10.0,
        "How long running requests may go on after SIGTERM.",
        least=0,
        most=3600,
    )
    hold_cap_s: float = _setting(
        "duration",
        5.0,
        "Longest wait of a GET for a name that doesn't exist yet.",
        least=0,
        most=3600,
    )
    max_waiters: int = _setting(
        "count",
        10_000,
        "Most GETs that wait for a name at a time; past it 503.",
        least=0,
        most=1_000_000,
    )
    discard_s: float = _setting(
        "duration",
        20.0,
        "How long the body of a refused upload is read away so that its connection can live on.",
        least=0,
        most=3600,
    )
    send_buffer_bytes: int = _setting(
        "size",
        512 * 1024,
        "SO_SNDBUF of each connection: what the kernel holds for a slow reader.",
        least=4096,
        most=2**30,
    )
    backlog: int = _setting(
        "count", 4_096, "Connections the kernel queues before accept.", least=1, most=65_535
    )
    log: str = _setting(
        "choice",
        "auto",
        "One line per request on stderr: human, json, off; auto: human on a terminal, else json.",
        choices=("auto", "human", "json", "off"),
        is_flag=True,
    )
    policies: tuple[PolicyRow, ...] = _setting(
        "policies", (), "Rows of what holds for which names, before the built-in ones; file only."
    )
    tokens: tuple[Token, ...] = _setting(
        "tokens", (), "Rows of who may do what, as `chunkstore token` prints them.", key="token"
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
    for item in fields(Settings):
        facts = dict(item.metadata)
        key = facts.pop("key") or re.sub(r"_(s|bytes)$", "", item.name)
        yield Setting(name=item.name, key=key, default=item.default, **facts)


SETTINGS: tuple[Setting, ...] = tuple(_declared())


def format_value(setting: Setting, value: Any) -> str:  # noqa: ANN401 - its type follows from `kind`
    """A single value as a person would write it, exact: "1GiB", "10s", "none", "true"."""
    if value is None:
        return "none"
    if setting.kind == "size":
        return format_size(int(value))
    if setting.kind == "duration":
        return format_duration(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
