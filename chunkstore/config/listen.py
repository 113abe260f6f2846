"""Addresses to listen on, as people write them: HOST:PORT, [V6]:PORT or unix:PATH."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

__all__ = ["ListenAddress", "parse_listen"]

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*")
# What the kernel's sockaddr_un holds, less the ending zero byte.
_MAX_UNIX_PATH_BYTES = 107


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """One address to listen on: either a host with a port, or the path of a unix socket.

    Args:
        host: a name or an IP address without brackets; "" for a unix socket.
        port: 0 lets the kernel choose.
        unix_path: path of the socket file; "" for TCP.
    """

    host: str
    port: int
    unix_path: str = ""

    @property
    def is_loopback(self) -> bool:
        """Only this machine can reach it: 127.0.0.0/8, ::1, localhost or a unix socket."""
        if self.unix_path or self.host.lower() == "localhost":
            return True
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return bool((mapped or address).is_loopback)


def parse_listen(text: str) -> ListenAddress:
    """Read one address.

    Raises:
        ValueError: none of the three forms, with what was expected.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or "\0" in path or len(path.encode()) > _MAX_UNIX_PATH_BYTES:
            raise ValueError(
                f"expected unix: and a path of at most {_MAX_UNIX_PATH_BYTES} bytes, got {text!r}"
            )
        return ListenAddress("", 0, path)
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"\d{1,5}", port, re.ASCII) or int(port) > 65_535:
        raise ValueError(
            f"expected HOST:PORT, [V6]:PORT or unix:PATH with a port from 0 to 65535, got {text!r}"
        )
    if not host:
        raise ValueError(
            f"a host is missing in {text!r}: say 127.0.0.1{text} for this machine alone"
            f" or 0.0.0.0{text} for every address it has"
        )
    return ListenAddress(_parse_host(host, text), int(port))


def _parse_host(host: str, text: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            raise ValueError(f"expected an IPv6 address in brackets, got {text!r}") from None
        return host[1:-1]
    if ":" in host:
        raise ValueError(f"an IPv6 address stands in brackets, as in [::1]:8080, got {text!r}")
    if re.fullmatch(r"[\d.]+", host, re.ASCII):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise ValueError(f"expected an IPv4 address such as 127.0.0.1, got {text!r}") from None
    elif not _HOST_NAME.fullmatch(host):
        raise ValueError(f"expected a host name or an IP address, got {text!r}")
    return host
