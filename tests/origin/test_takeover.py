"""Readers of an upload that broke off go on in the next upload of its path."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.origin.conftest import OpenSite
from tests.origin.drive import Client, Site, Upload, run_site

GRACE_S = 1.0


async def left_to(site: Site, *chunks: bytes) -> tuple[Client, Upload]:
    """A reader that has all that the first upload of /x has sent, and that upload."""
    first = await site.upload("/x")
    await first.chunk(*chunks)
    reader = await site.follow("/x")
    await reader.until(sum(map(len, chunks)))
    return reader, first


async def test_a_reader_goes_on_in_the_retry(site: Site) -> None:
    reader, first = await left_to(site, b"one", b"two")
    await first.kill()
    second = await site.upload("/x")
    await second.chunk(b"one", b"twothree")
    assert (await reader.until(11)).body == b"onetwothree"
    await second.chunk(b"four")
    assert (await second.end()).status == 201
    answer = await reader.rest()
    assert (answer.is_whole, answer.body) == (True, b"onetwothreefour")
    assert site.origin.metrics.taken_over == 1
    await site.check_nothing_left()


async def test_after_displacement_too(site: Site) -> None:
    reader, first = await left_to(site, b"one")
    second = await site.upload("/x")
    assert (await first.answer()).status == 409
    await second.chunk(b"one", b"two")
    await second.end()
    answer = await reader.rest()
    assert (answer.is_whole, answer.body) == (True, b"onetwo")
    await site.check_nothing_left()


async def test_the_retrys_receipt_counts_those_who_came_over(site: Site) -> None:
    _, first = await left_to(site, b"one")
    await first.kill()
    second = await site.upload("/x")
    await second.chunk(b"one")
    assert (await second.end()).json["peak_readers"] == 1


async def test_the_first_difference_cuts_who_has_read_beyond_it(site: Site) -> None:
    reader, first = await left_to(site, b"one", b"two")
    await first.kill()
    began = trio.current_time()
    second = await site.upload("/x")
    await second.chunk(b"onetw0")
    answer = await reader.rest()
    assert (answer.is_whole, answer.body) == (False, b"onetwo")
    assert trio.current_time() == began
    await second.end()
    await site.check_nothing_left()


async def test_a_retry_that_is_shorter_cuts_who_has_read_more(site: Site) -> None:
    reader, first = await left_to(site, b"one", b"two")
    await first.kill()
    second = await site.upload("/x")
    await second.chunk(b"one")
    await wait_all_tasks_blocked()
    assert (await second.end()).status == 201
    answer = await reader.rest()
    assert (answer.is_whole, answer.body) == (False, b"onetwo")
    await site.check_nothing_left()


async def test_a_retry_that_is_as_short_is_a_clean_end(site: Site) -> None:
    reader, first = await left_to(site, b"one", b"two")
    await first.kill()
    second = await site.upload("/x")
    await second.chunk(b"onetwo")
    await second.end()
    answer = await reader.rest()
    assert (answer.is_whole, answer.body) == (True, b"onetwo")


async def test_nobody_waits_longer_than_the_grace(site: Site) -> None:
    reader, first = await left_to(site, b"one")
    await first.kill()
    began = trio.current_time()
    assert (await reader.rest()).is_whole is False
    assert trio.current_time() - began == pytest.approx(GRACE_S)
    await site.check_nothing_left()


@pytest.mark.parametrize("stalled_s", [3.0, 15.0])
async def test_the_grace_stands_still_while_the_retry_matches(site: Site, stalled_s: float) -> None:
    reader, first = await left_to(site, b"one", b"two")
    await first.kill()
    second = await site.upload("/x")
    await second.chunk(b"one")
    await trio.sleep(stalled_s)
    await second.chunk(b"two", b"three")
    assert (await reader.until(11)).body == b"onetwothree"
    await second.end()
    assert (await reader.rest()).is_whole


async def test_without_grace_readers_are_cut_at_once(open_site: OpenSite) -> None:
    site = await open_site(policies=[{"match": "/x", "abort_grace": 0}])
    reader, first = await left_to(site, b"one")
    began = trio.current_time()
    await first.kill()
    assert (await reader.rest()).is_whole is False
    assert trio.current_time() == began
    await site.check_nothing_left()


async def test_a_chain(site: Site) -> None:
    reader, first = await left_to(site, b"one", b"two")
    second = await site.upload("/x")
    await second.chunk(b"one")  # not yet what was read of the first
    other = await site.follow("/x")
    await other.until(3)
    third = await site.upload("/x")
    await third.chunk(b"onetwo", b"three")
    await third.end()
    for client in (reader, other):
        answer = await client.rest()
        assert (answer.is_whole, answer.body) == (True, b"onetwothree")
    assert (await first.answer()).status == (await second.answer()).status == 409
    assert site.origin.metrics.taken_over == 2
    await site.check_nothing_left()


async def test_new_requests_see_the_retry_alone(site: Site) -> None:
    await site.put("/x", b"complete")
    reader, first = await left_to(site, b"one")
    await first.kill()
    assert (await site.get("/x")).body == b"complete"
    second = await site.upload("/x")
    await second.chunk(b"two")
    assert (await (await site.follow("/x")).until(3)).body == b"two"
    assert (await reader.rest()).is_whole is False
    await second.end()


async def test_delete_during_the_grace_cuts_at_once(site: Site) -> None:
    reader, first = await left_to(site, b"one")
    await first.kill()
    began = trio.current_time()
    answer = await site.ask("DELETE", "/x")
    assert answer.status == 200
    assert [one["was_open"] for one in answer.json["deleted"]] == [True]
    assert (await reader.rest()).is_whole is False
    assert trio.current_time() == began
    assert site.origin.metrics.endings["deleted"] == 1
    assert (await site.ask("DELETE", "/x")).status == 404
    await site.check_nothing_left()


async def test_a_name_deleted_during_the_grace_is_not_held_for(open_site: OpenSite) -> None:
    site = await open_site()
    first = await site.upload("/live/1.m4s")
    await first.chunk(b"one")
    await site.follow("/live/1.m4s")
    await first.kill()
    assert (await site.ask("DELETE", "/live/1.m4s")).status == 200
    began = trio.current_time()
    assert (await site.get("/live/1.m4s")).status == 404
    assert trio.current_time() == began


async def test_a_drain_during_the_grace_cuts_at_once(site: Site) -> None:
    reader, first = await left_to(site, b"one")
    await first.kill()
    began = trio.current_time()
    site.origin.server.stop()
    assert (await reader.rest()).is_whole is False
    assert trio.current_time() == began


async def test_what_is_kept_is_charged_and_not_evicted(open_site: OpenSite) -> None:
    site = await open_site(memory_bytes=70_000, max_object_bytes=60_000)
    reader, first = await left_to(site, bytes(40_000))
    await first.kill()
    assert site.used_bytes == 40_000 + 128
    assert (await site.put("/y", bytes(40_000))).status == 507
    assert (await reader.rest()).is_whole is False
    assert site.used_bytes == 0
    assert (await site.put("/y", bytes(40_000))).status == 201


async def test_what_nobody_reads_is_not_kept(site: Site) -> None:
    reader, first = await left_to(site, b"one")
    await first.kill()
    assert site.used_bytes == 3 + 128
    await reader.close()
    # A reader behind TLS notices at the next byte or at the end of the grace that it left.
    await trio.sleep(GRACE_S + 0.01)
    assert site.used_bytes == 0
    await site.check_nothing_left()


async def test_of_a_path_at_most_four_are_kept(site: Site) -> None:
    readers: list[Client] = []
    for size in (9, 8, 7, 6, 5, 4):
        writer = await site.upload("/x")
        await writer.chunk(bytes(size))
        readers.append(await site.follow("/x"))
        await readers[-1].until(size)
    assert len(site.origin.catalog._takeovers.of("/x")) == 4
    await writer.chunk(bytes(5))
    await writer.end()
    answers = [await one.rest() for one in readers]
    assert [one.is_whole for one in answers] == [False, *[True] * 5]
    await site.check_nothing_left()


async def test_a_storm_of_retries_costs_bounded_memory(site: Site) -> None:
    """A hundred a second for ten seconds, each different from the byte before."""
    reader, _ = await left_to(site, b"first")
    for index in range(1000):
        writer = await site.upload("/x")
        await writer.chunk(b"%04d" % index)
        await trio.sleep(0.01)
        assert len(site.origin.catalog._takeovers.of("/x")) <= 4
        assert site.used_bytes <= 5 * (5 + 128)
    assert (await reader.rest()).is_whole is False
    await writer.end()
    await site.check_nothing_left()


async def test_an_upload_that_grew_too_large_has_no_successor(open_site: OpenSite) -> None:
    site = await open_site(max_object_bytes=10)
    reader, first = await left_to(site, b"one")
    began = trio.current_time()
    await first.chunk(bytes(9))
    assert (await first.answer()).status == 413
    assert (await reader.rest()).is_whole is False
    assert trio.current_time() == began


# --- whatever happens ----------------------------------------------------------------------------


@dataclass
class Attempt:
    """One upload of a story.

    Attributes:
        repeats: how many bytes of the upload before it begins with, as far as that has them.
        tail: what follows them.
        sizes: of its chunks, over and over.
        joins: before these chunks a reader comes; true for one that reads nothing until the end.
        sent: it breaks off after so many chunks, or ends if it has no more.
        ending: what breaks it off: its death, or the next one.
        pause_s: then nothing happens for so long.
    """

    repeats: int
    tail: bytes
    sizes: list[int]
    joins: dict[int, bool]
    sent: int
    ending: str
    pause_s: float


attempts = st.builds(
    Attempt,
    repeats=st.integers(0, 8),
    tail=st.lists(st.sampled_from(b"ab"), max_size=5).map(bytes),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    joins=st.dictionaries(st.integers(0, 4), st.booleans(), max_size=2),
    sent=st.integers(0, 6),
    ending=st.sampled_from(["kill", "displace"]),
    pause_s=st.sampled_from([0.0, 0.0, 0.5, 1.1]),
)


class Story:
    """Uploads of one path, one after the other, and readers that join, wait and read."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.uploads: list[bytes] = []
        self.complete: list[bytes] = []
        self.readers: list[Client] = []

    async def tell(self, attempt: Attempt) -> None:
        """One upload, and who joins it."""
        body = (self.uploads[-1] if self.uploads else b"")[: attempt.repeats] + attempt.tail
        writer = await self.site.upload("/x")
        self.uploads.append(b"")
        at = 0
        for index in range(attempt.sent):
            if index in attempt.joins:
                await self.join(is_slow=attempt.joins[index])
            if at == len(body):
                assert (await writer.end()).status in (200, 201)
                self.complete.append(body)
                break
            chunk = body[at : at + attempt.sizes[index % len(attempt.sizes)]]
            await writer.chunk(chunk)
            at += len(chunk)
            self.uploads[-1] = body[:at]
        else:
            if attempt.ending == "kill":
                await writer.kill()
        await trio.sleep(attempt.pause_s)

    async def join(self, *, is_slow: bool) -> None:
        """A reader comes."""
        client = self.site.connect(lockstep=is_slow)
        await client.request("GET", "/x")
        self.readers.append(client)
        await wait_all_tasks_blocked()

    async def check(self) -> None:
        """Each got a prefix of one upload, and a clean end only with all of a complete one."""
        await self.site.ask("DELETE", "/x")
        for client in self.readers:
            answer = await client.read()
            if answer.status != 200:
                assert answer.status in (404, 503)
            elif answer.is_whole:
                assert answer.body in self.complete
            else:
                assert any(upload.startswith(answer.body) for upload in self.uploads)
        assert not self.site.origin.metrics.endings["failed"]


EXAMPLES = int(os.environ.get("TAKEOVER_EXAMPLES") or (10_000 if os.environ.get("CI") else 50))


@given(st.lists(attempts, min_size=1, max_size=5))
@settings(deadline=None, max_examples=EXAMPLES)
def test_nobody_gets_what_was_not_one_upload(story: list[Attempt]) -> None:
    async def test(site: Site) -> None:
        told = Story(site)
        for attempt in story:
            await told.tell(attempt)
        await told.check()

    run_site(test)
