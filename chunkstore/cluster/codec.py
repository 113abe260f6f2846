"""Parity of units, and lost units from those that are left: Reed-Solomon, by isa-l through pyeclib.

Whatever five of an object's units of a stripe are there, the others follow from them. The codec
takes what it is given for right: callers have verified it.

pyeclib puts 80 bytes in front of every fragment. They say its index, its size and the library's
version, and nothing of the payload, so they aren't stored: they are made by encoding zeros, once a
size. And parity is had from `reconstruct`, as a lost unit is: `encode` copies the data into seven
fragments of fresh memory, which took ten times as long when it was measured.

A unit of parity doesn't depend on how many others there are, so parity can be added to an object
later without touching what it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from chunkstore.cluster.stripe import K
from chunkstore.errors import SettingsError

if TYPE_CHECKING:
    from pyeclib.ec_iface import ECDriver

__all__ = ["MAX_M", "Codec"]

MAX_M = 2
"""Most parity parts of an object."""
_HEADER_BYTES = 80
_SIZES_KEPT = 256
"""Sizes of units whose headers are kept, 560 bytes for each; all full stripes have one size."""


class Codec:
    """Parity of one strength; may be shared by threads, of which one computes at a time.

    Args:
        m: parity units a stripe, 0 to MAX_M; none needs no pyeclib.
    Raises:
        SettingsError: pyeclib isn't installed.
    """

    __slots__ = ("_driver", "_headers", "m")

    def __init__(self, m: int) -> None:
        assert 0 <= m <= MAX_M
        self.m = m
        if m:
            self._driver = _driver(m)
            self._headers = lru_cache(_SIZES_KEPT)(self._make_headers)

    def encode(self, units: Sequence[bytes]) -> list[bytes]:
        """The parity of a stripe.

        Args:
            units: K of one size, at least a byte, in order.
        Returns:
            m units of that size.
        Cost: 5 units are copied once; else about what reading them takes.
        """
        assert len(units) == K
        made = self.decode(dict(enumerate(units)), range(K, K + self.m))
        return [made[index] for index in range(K, K + self.m)]

    def decode(self, units: Mapping[int, bytes], wanted: Iterable[int]) -> dict[int, bytes]:
        """Units that are lost, of data or parity.

        Args:
            units: at least K of one stripe by index, verified; more aren't looked at.
            wanted: indices below K + m.
        Returns:
            the wanted units by index; those that were given are as they came.
        Cost: as `encode`.
        """
        made = {index: units[index] for index in wanted if index in units}
        lost = sorted(set(wanted) - set(made))
        if lost:
            assert len(units) >= K, "too few units are left"
            assert self.m, "without parity nothing can be made"
            sources = sorted(units)[:K]
            headers = self._headers(len(units[sources[0]]))
            fragments = [headers[index] + units[index] for index in sources]
            results = self._driver.reconstruct(fragments, lost)
            made.update(zip(lost, (one[_HEADER_BYTES:] for one in results), strict=True))
        return made

    def _make_headers(self, unit_bytes: int) -> list[bytes]:
        """What pyeclib puts in front of each of a stripe's units."""
        fragments = self._driver.encode(bytes(K * unit_bytes))
        assert len(fragments[0]) == _HEADER_BYTES + unit_bytes
        return [fragment[:_HEADER_BYTES] for fragment in fragments]


@lru_cache
def _driver(m: int) -> ECDriver:
    """The one of a process: making it reads what the processor can do, and computes tables."""
    try:
        from pyeclib.ec_iface import ECDriver
    except ImportError as error:
        raise SettingsError(
            "pyeclib", "it isn't installed, and parity needs it: pip install 'chunkstore[cluster]'"
        ) from error
    return ECDriver(k=K, m=m, ec_type="isa_l_rs_cauchy")
