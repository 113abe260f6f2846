"""What is packed comes out as it went in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.ledger import Ledger, Stored, with_digest
from chunkstore.cluster.meta import Manifest

MANIFESTS = st.builds(
    Manifest,
    st.sampled_from(["/a", "/b/c", "/ü"]),
    st.integers(1, 2**63 - 1),
    st.integers(0, 2**60),
    st.integers(0, 2**60),
    st.just(5),
    st.lists(st.integers(0, 2**16 - 1), max_size=7).map(tuple),
    st.builds(with_digest, st.binary(min_size=32, max_size=32), st.binary(max_size=60)),
)


@given(st.lists(st.one_of(MANIFESTS, st.sampled_from(["/a", "/b/c"]))))
def test_the_last_of_a_name_is_there_until_it_goes(changes: list[Manifest | str]) -> None:
    ledger, model = Ledger(), dict[str, Manifest]()
    for change in changes:
        if isinstance(change, str):
            ledger.drop(change)
            model.pop(change, None)
        else:
            ledger.put(change)
            model[change.key] = change
    for key, manifest in model.items():
        assert ledger.manifest(key) == manifest
        sha256, facts = manifest.facts[:32], manifest.facts[32:]
        stored = Stored(manifest.generation, manifest.size_bytes, facts, sha256)
        assert ledger.stored(key) == stored
    listed = {(key, one.generation, one.facts[32:]) for key, one in model.items()}
    assert set(ledger.objects()) == listed
    assert ledger.manifest("/none") is None
    assert ledger.stored("/none") is None
