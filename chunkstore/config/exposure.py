"""Settings that are right one by one, held against each other: what others could do above all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chunkstore.config.listen import parse_listen
from chunkstore.errors import SettingsError
from chunkstore.units import format_size

if TYPE_CHECKING:
    from chunkstore.config.settings import Settings

__all__ = ["check_exposure"]


def check_exposure(settings: Settings) -> None:
    """Refuse settings that would let others do what nobody said they may, or nobody anything.

    Raises:
        SettingsError: with the ways out.
    """
    # What a node has on its port takes the cluster's signature.
    exposed = None if settings.join else _beyond_loopback(settings.listen)
    if exposed and not settings.tokens and not settings.open_writes:
        raise SettingsError(
            "listen",
            f"other machines could write and delete on {exposed}: make a token for those who may"
            " (`chunkstore token`), say --open-writes if all may, or listen on 127.0.0.1",
        )
    exposed = _beyond_loopback(settings.admin)
    if exposed and not any("ADMIN" in token.rights for token in settings.tokens):
        raise SettingsError(
            "admin",
            f"other machines could see every name and client on {exposed}: make a token for it"
            " (`chunkstore token --methods ADMIN`), or listen on 127.0.0.1",
        )
    if (settings.tls_cert is None) != (settings.tls_key is None):
        missing = "tls_key" if settings.tls_key is None else "tls_cert"
        raise SettingsError(missing, "a certificate and its key go together, and one is missing")
    if settings.disk_bytes is not None and settings.disk_bytes <= settings.disk_reserve_bytes:
        reserve = format_size(settings.disk_reserve_bytes)
        raise SettingsError(
            "disk", f"nothing could be stored: disk_reserve keeps {reserve} of it free"
        )
    can_read = settings.sign_key_file or any("GET" in token.rights for token in settings.tokens)
    if not settings.open_reads and not can_read:
        raise SettingsError(
            "open_reads", "nobody could read: make a token with GET, or set sign_key_file"
        )
    _check_tokens(settings)


def _beyond_loopback(addresses: tuple[str, ...]) -> str | None:
    """The first address that other machines can reach."""
    return next((text for text in addresses if not parse_listen(text).is_loopback), None)


def _check_tokens(settings: Settings) -> None:
    for what in ("name", "digest"):
        values = [getattr(token, what) for token in settings.tokens]
        for index, value in enumerate(values):
            if value in values[:index]:
                first = settings.tokens[values.index(value)].name
                told = f"name {first!r}" if what == "name" else f"hash of {first!r}"
                raise SettingsError(f"token[{index}]", f"the {told} is there twice")
