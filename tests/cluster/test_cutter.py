"""Runs of any sizes become the parts that the whole object would."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.codec import Codec
from chunkstore.cluster.cutter import Cutter
from chunkstore.cluster.stripe import STRIPE_BYTES, K, Layout
from chunkstore.cluster.unit import Description
from tests.cluster.nodes import parts_of

SIZES = st.one_of(st.integers(1, 5000), st.integers(1, 1 << 20))


@given(st.lists(SIZES, max_size=6), st.integers(0, 2))
def test_any_runs_make_the_same_parts(sizes: list[int], m: int) -> None:
    data = bytes(range(1, 252)) * (sum(sizes) // 251 + 1)
    data = data[: sum(sizes)]
    cutter, codec = Cutter(7), Codec(m)
    parts = [bytearray() for _ in range(K + m)]

    def cut_one() -> None:
        stripe = cutter.stripe_count
        for part, record in zip(parts, cutter.records(codec, stripe, cutter.take()), strict=True):
            part += record

    start = 0
    for size in sizes:
        half = size // 2
        view = memoryview(data)
        cutter.add([view[start : start + half], view[start + half : start + size]])
        start += size
        while cutter.has_stripe:
            cut_one()
        assert cutter.waiting_bytes < STRIPE_BYTES
    if cutter.waiting_bytes:
        cut_one()
    assert list(map(bytes, parts)) == parts_of(data, 7, m, b"")
    assert cutter.stripe_count == Layout(len(data)).stripe_count
    for index, ending in enumerate(cutter.descriptions("/a", m, b"facts")):
        described = Description.parse(bytes(parts[index]) + ending)
        sha256 = hashlib.sha256(data).digest()
        assert described == Description("/a", 7, K, m, index, len(data), sha256, b"facts")
