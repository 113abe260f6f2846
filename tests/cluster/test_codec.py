"""Parity: whatever up to m units are lost, the others give them back."""

from __future__ import annotations

import itertools
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyeclib.ec_iface import ECDriver

from chunkstore.cluster import codec
from chunkstore.cluster.codec import MAX_M, Codec
from chunkstore.cluster.stripe import UNIT_BYTES, K
from chunkstore.errors import SettingsError

SIZES = [*range(1, 18), 31, 33, 4095, 52429]
CODECS = {m: Codec(m) for m in range(MAX_M + 1)}


def stripe_of(size: int, seed: int = 0) -> list[bytes]:
    """Five units that are nothing special."""
    source = random.Random(seed)
    return [source.randbytes(size) for _ in range(K)]


def losses(count: int) -> list[tuple[int, ...]]:
    """Every choice of up to m of all units."""
    return [
        lost
        for lost_count in range(count - K + 1)
        for lost in itertools.combinations(range(count), lost_count)
    ]


@pytest.mark.parametrize("m", CODECS)
@pytest.mark.parametrize("size", SIZES)
def test_every_choice_of_lost_units_is_decoded(m: int, size: int) -> None:
    data = stripe_of(size)
    units = dict(enumerate(data + CODECS[m].encode(data)))
    assert len(units) == K + m
    for lost in losses(K + m):
        left = {index: unit for index, unit in units.items() if index not in lost}
        assert CODECS[m].decode(left, lost) == {index: units[index] for index in lost}


@given(st.integers(1, 300), st.integers(0, 2**32), st.sampled_from(losses(K + MAX_M)))
def test_full_of_anything(size: int, seed: int, lost: tuple[int, ...]) -> None:
    data = stripe_of(size, seed)
    units = dict(enumerate(data + CODECS[MAX_M].encode(data)))
    left = {index: unit for index, unit in units.items() if index not in lost}
    assert CODECS[MAX_M].decode(left, range(K)) == dict(enumerate(data))


@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("size", [*SIZES, UNIT_BYTES])
def test_pyeclibs_headers_say_nothing_of_the_payload(m: int, size: int) -> None:
    """So they needn't be stored; and what `reconstruct` makes of five units is what it encodes."""
    driver = ECDriver(k=K, m=m, ec_type="isa_l_rs_cauchy")
    data = stripe_of(size)
    encoded, zeros = driver.encode(b"".join(data)), driver.encode(bytes(K * size))
    assert [one[:80] for one in encoded] == [one[:80] for one in zeros]
    assert [one[80:] for one in encoded] == data + CODECS[m].encode(data)


def test_parity_can_be_added_to_an_object() -> None:
    data = stripe_of(1000)
    assert CODECS[1].encode(data) == CODECS[2].encode(data)[:1]


def test_what_is_given_is_not_made_again() -> None:
    data = stripe_of(10)
    assert CODECS[0].decode({3: data[3]}, [3])[3] is data[3]


def test_without_parity_there_is_no_need_of_pyeclib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyeclib.ec_iface", None)
    assert Codec(0).encode(stripe_of(5)) == []
    monkeypatch.setattr(codec, "_driver", codec._driver.__wrapped__)  # makes it anew
    with pytest.raises(SettingsError, match=r"pip install 'chunkstore\[cluster\]'"):
        Codec(1)
