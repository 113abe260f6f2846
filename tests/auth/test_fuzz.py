"""Any credentials and any signed URL: never a 5xx, and nobody is let in who may not be."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from urllib.parse import parse_qsl

import trio
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.auth import Gate, parse_token
from tests.auth.keys import ALL, SIGN_KEYS, TOKENS, basic, bearer, signed
from tests.origin.drive import WALL_S, Site, run_site

GATE = Gate([parse_token(row, "token") for row in TOKENS], SIGN_KEYS, open_reads=False)
PATH = "/vod/b.mpd"
VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)


@st.composite
def mutations(draw: st.DrawFn, origins: list[str], alphabet: st.SearchStrategy[str]) -> str:
    """One of the texts with a few pieces of it cut, doubled, put in or written otherwise."""
    text = draw(st.sampled_from(origins))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        stop = draw(st.integers(start, min(len(text), start + 8)))
        piece = text[start:stop]
        swapped = "".join(one.swapcase() if one.isascii() else one for one in piece)
        others = [swapped, piece * 2, "", "".join(f"%{ord(one):02X}" for one in piece)]
        new = draw(st.sampled_from(others) | st.text(alphabet, max_size=3))
        text = text[:start] + new + text[stop:]
    return text


FIELDS = mutations(
    [bearer(ALL)[15:], basic(ALL)[15:], basic("password")[15:], f"Bearer {ALL}, Basic {ALL}"],
    st.characters(min_codepoint=0x20, max_codepoint=0xFF),
)
GIVEN_QUERY = signed(PATH, "/vod/").partition("?")[2]
QUERIES = mutations(
    [GIVEN_QUERY, signed(PATH).partition("?")[2], f"a=b&{GIVEN_QUERY}&CMCD=x"], VISIBLE
)


def carries(field: str, secret: str) -> bool:
    """Whether a secret stands in a field at all, as it is or as a Basic password."""
    scheme, _, rest = field.strip().partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip() == secret
    try:
        return b64decode(rest.strip()).endswith(b":" + secret.encode())
    except (Base64Error, ValueError):
        return False


def says_the_same(query: str) -> bool:
    """Whether a query's parameters are those of one that was signed for this."""
    given = parse_qsl(query, keep_blank_values=True)
    own = [pair for pair in given if pair[0] in ("expires", "prefix", "signature")]
    known = (GIVEN_QUERY, signed(PATH).partition("?")[2])
    return sorted(own) in [sorted(parse_qsl(one)) for one in known]


def let_in(authorization: str | None, query: str, method: str = "GET") -> bool:
    """What the gate says, without a server around it."""
    return GATE.judge(method, PATH, authorization=authorization, query=query, now_s=WALL_S) is None


@given(FIELDS)
def test_no_field_but_one_with_the_secret_is_let_in(field: str) -> None:
    for method in ("GET", "LIST", "PUT", "DELETE"):
        assert let_in(field, "", method) <= carries(field, ALL)
    assert not let_in(field, "", "ADMIN")


@given(QUERIES)
def test_no_query_but_what_was_signed_is_let_in(query: str) -> None:
    assert let_in(None, query) <= says_the_same(query)
    assert not any(let_in(None, query, method) for method in ("LIST", "PUT", "DELETE", "ADMIN"))


@given(st.text(VISIBLE, max_size=200), st.text(max_size=200))
def test_any_text_at_all(query: str, field: str) -> None:
    assert not let_in(field, query)
    assert not let_in(None, f"signature={query}")
    assert not let_in(None, f"expires={WALL_S + 9:.0f}&prefix={query}&signature={'0' * 64}")


def test_what_nobody_changed_is_let_in() -> None:
    assert let_in(bearer(ALL)[15:], "")
    assert let_in(basic(ALL)[15:], "")
    assert let_in(None, GIVEN_QUERY)
    assert let_in(None, GIVEN_QUERY.replace("/", "%2F"))
    assert let_in(None, f"_HLS_msn=3&{GIVEN_QUERY}&CMCD=bl%3D1")


REQUESTS = st.lists(
    st.tuples(st.sampled_from(["GET", "PUT", "LIST", "DELETE"]), FIELDS, QUERIES), max_size=8
)


@given(REQUESTS)
def test_the_whole_server(requests: list[tuple[str, str, str]]) -> None:
    async def test(site: Site) -> None:
        stored = b"hello"
        assert (await site.put(PATH, stored, bearer(ALL))).status == 201
        for method, field, query in requests:
            body = b"" if method == "PUT" else None
            line = f"Authorization: {field}"
            answer = await site.ask(method, f"{PATH}?{query}", line, body=body)
            assert 200 <= answer.status < 500
            if answer.status < 400:
                is_read = method == "GET" and says_the_same(query)
                assert carries(field, ALL) or is_read
                await site.put(PATH, stored, bearer(ALL))
            assert (await site.get(PATH, bearer(ALL))).body == stored
        await trio.testing.wait_all_tasks_blocked()

    run_site(test, tokens=TOKENS, sign_keys=SIGN_KEYS, open_reads=False)
