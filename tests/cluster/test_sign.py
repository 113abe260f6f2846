"""Signatures: what was signed is let in for a while, and nothing else is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.auth import Denial
from chunkstore.cluster.names import GENERATION_MAX, Part, parse_part, part_path
from chunkstore.cluster.sign import MAX_AGE_S, Signer, parse_secret
from chunkstore.errors import SettingsError

NOW_S = 1_800_000_000
SIGNER = Signer(b"0123456789abcdef")


@dataclass(frozen=True)
class Asked:
    """What is signed."""

    method: str
    target: str
    generation: int | None
    length: int | None

    def sign(self, signer: Signer = SIGNER, now_s: float = NOW_S) -> str:
        """Its field's value."""
        name, value = signer.field(
            self.method,
            self.target,
            now_s=now_s,
            length=self.length,
            generation=self.generation,
        )
        assert name == "Authorization"
        return value

    def judge(self, authorization: str | None, now_s: float = NOW_S) -> Denial | None:
        """What comes of it."""
        return SIGNER.judge(
            self.method,
            self.target,
            authorization,
            now_s=now_s,
            length=self.length,
            generation=self.generation,
        )


sizes = st.none() | st.integers(0, 2**63)
targets = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40)
asked = st.builds(
    Asked, st.sampled_from(["GET", "PUT", "DELETE", "LIST", "POST"]), targets, sizes, sizes
)


@given(asked, st.floats(0, MAX_AGE_S - 1))
def test_what_was_signed_is_let_in_again_and_again_for_a_minute(one: Asked, age_s: float) -> None:
    field = one.sign()
    assert one.judge(field) is None
    assert one.judge(field, NOW_S + age_s) is None
    assert one.judge(field, NOW_S - age_s) is None


@given(asked, asked)
def test_no_other_request_is_let_in(one: Asked, other: Asked) -> None:
    denial = other.judge(one.sign())
    assert (denial is None) is (one == other)
    assert denial is None or denial.status == 403


@pytest.mark.parametrize(
    "change", [{"method": "GET"}, {"target": "/b"}, {"generation": 2}, {"length": 0}]
)
@pytest.mark.parametrize("length", [None, 1])
def test_each_thing_that_is_signed_matters(change: dict[str, str], length: int | None) -> None:
    one = Asked("PUT", "/a", 1, length)
    other = replace(one, **change)  # type: ignore[arg-type]  # a field each
    denial = other.judge(one.sign())
    assert denial is not None
    assert denial.status == 403


@pytest.mark.parametrize("age_s", [MAX_AGE_S + 1, -MAX_AGE_S - 1, 86400])
def test_an_old_date_is_refused_and_its_age_said(age_s: int) -> None:
    one = Asked("GET", "/a", 1, 0)
    denial = one.judge(one.sign(), NOW_S + age_s)
    assert denial is not None
    assert denial.status == 403
    assert f"{age_s} s old" in denial.detail


def test_a_date_can_not_be_changed() -> None:
    one = Asked("GET", "/a", 1, 0)
    moved = one.sign().replace(str(NOW_S), str(NOW_S + 100))
    assert one.judge(moved, NOW_S + 100) == Denial(
        403, "the signature does not fit the request, or was made with another secret"
    )


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "Bearer x",
        "Chunkstore-1",
        "Chunkstore-2 date=1,signature=" + "0" * 64,
        f"Chunkstore-1 date={NOW_S}",
        f"Chunkstore-1 date={NOW_S},signature=" + "0" * 63,
        f"Chunkstore-1 date={NOW_S},signature=" + "0" * 64 + "\n",
        f"Chunkstore-1 date=-{NOW_S},signature=" + "0" * 64,
    ],
)
def test_what_is_no_signature_is_401(value: str | None) -> None:
    denial = Asked("GET", "/a", 1, 0).judge(value)
    assert denial is not None
    assert denial.status == 401


def test_another_secret_is_403() -> None:
    one = Asked("GET", "/a", 1, 0)
    denial = one.judge(one.sign(Signer(b"fedcba9876543210")))
    assert denial is not None
    assert denial.status == 403


def test_a_secret_is_all_of_the_file_but_the_space_around_it() -> None:
    assert parse_secret(b" 0123456789 abcdef\n", "f") == b"0123456789 abcdef"


@pytest.mark.parametrize("text", [b"", b"0123456789abcde\n", b"x" * 5000])
def test_a_secret_has_a_length(text: bytes) -> None:
    with pytest.raises(
        SettingsError, match="f: expected a secret of 16 to 4096 bytes, got"
    ) as told:
        parse_secret(text, "f")
    assert "0123" not in str(told.value)


@given(st.integers(0, GENERATION_MAX), st.integers(0, 999))
def test_names_of_parts_are_read_back(generation: int, index: int) -> None:
    part = Part(generation, index)
    assert parse_part(part_path(part)) == part


@pytest.mark.parametrize(
    "path",
    ["/parts/", "/parts/2a.3", "/parts/000000000000002A.3", "/parts/000000000000002a.03"]
    + ["/parts/000000000000002a", "/parts/000000000000002a.3/", "/part/000000000000002a.3"]
    + ["/parts/4000000000000001.3", "/parts/ffffffffffffffff.3"],
)
def test_other_paths_name_no_part(path: str) -> None:
    assert parse_part(path) is None
