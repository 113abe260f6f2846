"""The whole server against a naive model of the store: any commands, interleaved in any way.

Each example is a list of commands, run in one loop on a clock that jumps. After each command every
name must show what the model shows, the budget must be charged what the model says, and whoever
reads must have been answered with the bytes of one upload, cleanly ended only if that was whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.origin.drive import Client, Site, frame, run_site
from tests.origin.model import Generation, Model, Reading

KEYS = ("/a/1.m4s", "/a/2", "/b/x.mpd", "/b")
SLOTS = 2
SETTLE_S = 0.025
"""Long enough for the 20 ms after which all bytes are visible."""


class Command(NamedTuple):
    """What to do, to which name or upload or reader, and how."""

    name: str
    target: int
    data: bytes = b""
    number: int = 0
    text: str = ""


def commands() -> st.SearchStrategy[list[Command]]:
    """Lists of commands; one that makes no sense when its turn comes is skipped."""
    data = st.binary(min_size=1, max_size=40)
    index, slot = st.sampled_from([0, 0, 0, 1, 2, 3]), st.integers(0, SLOTS - 1)
    offset = st.integers(0, 60)
    spans = st.sampled_from(["", "", "", "a-", "a-b", "a-very large"])
    prefixes = st.sampled_from(["", "/", "/a", "/a/1.m4s", "/b", "/c"])
    kinds = {
        "sleep": st.builds(Command, st.just("sleep"), st.integers(0, 5)),
        "put": st.builds(Command, st.just("put"), index, st.binary(max_size=40)),
        "refused": st.builds(Command, st.just("refused"), index, data, st.integers(0, 2)),
        "start": st.builds(Command, st.just("start"), index, number=slot),
        "chunk": st.builds(Command, st.just("chunk"), slot, data, offset),
        "end": st.builds(Command, st.just("end"), slot),
        "kill": st.builds(Command, st.just("kill"), slot, data, offset),
        "junk": st.builds(Command, st.just("junk"), slot),
        "delete": st.builds(Command, st.just("delete"), index),
        "read": st.builds(Command, st.just("read"), index, number=offset, text=spans),
        "leave": st.builds(Command, st.just("leave"), st.integers(0, 40)),
        "condition": st.builds(Command, st.just("condition"), index, number=st.integers(0, 3)),
        "list": st.builds(
            Command, st.just("list"), st.integers(0, 3), number=st.integers(0, 3), text=prefixes
        ),
    }
    # Uploads and their readers most of the time: the rest happens in between. Lists are long, since
    # it takes several commands for an upload to have readers; "sleep" is what others shrink to.
    often = [kinds[name] for name in ("start", "chunk", "chunk", "chunk", "read", "read", "read")]
    return st.lists(st.one_of(*kinds.values(), *often), min_size=15, max_size=50)


class Slot:
    """A writer's connection, kept and used again, and the upload it is in."""

    def __init__(self) -> None:
        self.client: Client | None = None
        self.generation: Generation | None = None
        self.status = 0  # what it must get if the upload was ended by somebody else


class Interpreter:
    """Runs commands against the server and the model side by side."""

    def __init__(self, site: Site, tasks: trio.Nursery) -> None:
        self.site = site
        self.tasks = tasks
        self.model = Model()
        self.client = site.connect()  # one for all short requests
        self.slots = [Slot() for _ in range(SLOTS)]
        self.readings: list[tuple[Reading, Client]] = []

    async def run(self, todo: Iterable[Command]) -> None:
        """Run them all, then end what is open and judge everybody."""
        for command in todo:
            await getattr(self, f"do_{command.name}")(command)
            await self.settle()
        for number in range(SLOTS):
            await self.do_kill(Command("kill", number))
        await self.settle()
        await trio.sleep(6)  # no hold lasts longer
        await wait_all_tasks_blocked()
        for reading, client in self.readings:
            assert reading.answer.is_whole is not None, "a reader was left waiting"
            reading.judge(self.model)
            await client.close()

    async def settle(self) -> None:
        """Let everything happen that is due, and compare."""
        await trio.sleep(SETTLE_S)
        await wait_all_tasks_blocked()
        for key in KEYS:
            await self.compare(key)
        assert self.site.used_bytes == self.model.charge()
        for reading, _ in self.readings:
            is_held = reading.answered_s is None and not reading.has_left
            if is_held and reading.span is None:
                assert self.model.visible(reading.key) is None, "a hold that was not released"

    async def compare(self, key: str) -> None:
        """HEAD and, of a complete object, GET show what the model shows."""
        shown = self.model.visible(key)
        head = await self.client.ask("HEAD", key)
        if shown is None:
            assert head.status == 404
            return
        assert head.status == 200
        shown.etag = shown.etag or head.etag
        assert head.etag == shown.etag
        if shown.state == "open":
            assert head.fields["chunkstore-offset"] == str(len(shown.body))
        else:
            assert "chunkstore-state" not in head.fields
            assert (await self.client.ask("GET", key)).body == shown.body

    # --- writing -------------------------------------------------------------------------------

    def begin(self, key: str) -> Generation:
        """Open a generation in the model; who is displaced will get 409."""
        generation, displaced = self.model.begin(key)
        self.note_end(displaced, 409)
        return generation

    def note_end(self, generation: Generation | None, status: int) -> None:
        """Somebody else ended this upload: its writer must get `status`."""
        for slot in self.slots:
            if generation is not None and slot.generation is generation:
                slot.status = status

    async def do_put(self, command: Command) -> None:
        """A whole object in one request."""
        generation = self.begin(KEYS[command.target])
        generation.chunks = [command.data] if command.data else []
        status = self.model.commit(generation)
        answer = await self.client.ask("PUT", generation.key, body=command.data)
        assert answer.status == status
        assert answer.json["bytes"] == len(command.data)
        generation.etag = answer.etag

    async def do_refused(self, command: Command) -> None:
        """A PUT that changes nothing, whose body is read away."""
        key = KEYS[command.target]
        if command.number == 0 and not self.model.exists(key):
            return
        line, status = [
            ("If-None-Match: *", 412),
            ("Origin: null", 403),
            ("Content-Range: bytes 0-1/2", 400),
        ][command.number]
        answer = await self.client.ask("PUT", key, line, body=command.data)
        assert answer.status == status

    async def do_start(self, command: Command) -> None:
        """Begin a chunked PUT."""
        slot = self.slots[command.number]
        if slot.generation is not None:
            return
        if slot.client is None:
            slot.client = self.site.connect()
        slot.generation = self.begin(KEYS[command.target])
        slot.status = 0
        key = slot.generation.key
        await slot.client.request("PUT", key, "Transfer-Encoding: chunked")

    async def do_chunk(self, command: Command) -> None:
        """A chunk of an upload, whole or in two halves with time between them."""
        slot = self.slots[command.target]
        if slot.generation is None:
            key_number = command.data[0] % len(KEYS)
            await self.do_start(Command("start", key_number, number=command.target))
        assert slot.generation is not None
        assert slot.client is not None
        wire = frame(command.data)
        size_line = wire.index(b"\n") + 1
        cut = min(command.number, len(wire))
        await slot.client.send(wire[:cut])
        await trio.sleep(SETTLE_S)
        await slot.client.send(wire[cut:])
        if not slot.status:
            half = max(0, cut - size_line)
            halves = (command.data[:half], command.data[half:])
            slot.generation.chunks += [one for one in halves if one]

    async def do_end(self, command: Command) -> None:
        """End an upload as it should be; its connection is used again."""
        slot = self.slots[command.target]
        if slot.generation is None or slot.client is None:
            return
        status = slot.status or self.model.commit(slot.generation)
        await slot.client.send(b"0\r\n\r\n")
        answer = await slot.client.read("PUT")
        assert answer.status == status
        assert "connection" not in answer.fields
        if not slot.status:
            assert answer.json["chunks"] == len(slot.generation.chunks)
            assert slot.generation.etag in ("", answer.etag)
            slot.generation.etag = answer.etag
        slot.generation = None

    async def do_kill(self, command: Command) -> None:
        """The writer dies somewhere in a chunk."""
        slot = self.slots[command.target]
        if slot.generation is None or slot.client is None:
            return
        wire = frame(command.data) if command.data else b""
        cut = min(command.number, len(wire))
        await slot.client.send(wire[:cut])
        await trio.sleep(SETTLE_S)
        if not slot.status:
            seen = wire[wire.find(b"\n") + 1 : cut][: len(command.data)] if cut else b""
            slot.generation.chunks += [seen] if seen else []
            await self.compare(slot.generation.key)  # while it lives, to learn its ETag
            self.model.abort(slot.generation)
        await slot.client.close()
        slot.client = slot.generation = None

    async def do_junk(self, command: Command) -> None:
        """An upload's framing breaks: 400 and close, unless another answer went before."""
        slot = self.slots[command.target]
        if slot.generation is None or slot.client is None:
            return
        await slot.client.send(b"junk\r\n")
        answer = await slot.client.read("PUT")
        assert answer.status == (slot.status or 400)
        if not slot.status:
            self.model.abort(slot.generation)
        assert await slot.client.is_closed()
        slot.client = slot.generation = None

    async def do_delete(self, command: Command) -> None:
        """DELETE a name."""
        key = KEYS[command.target]
        self.note_end(self.model.open.get(key), 410)
        answer = await self.client.ask("DELETE", key)
        assert answer.status == self.model.delete(key)

    # --- reading -------------------------------------------------------------------------------

    async def do_read(self, command: Command) -> None:
        """A GET that is read in the background, to be judged at the end; mostly of an upload."""
        key = KEYS[command.target]
        if self.model.open and command.number % 3:
            key = sorted(self.model.open)[command.target % len(self.model.open)]
        first = command.number % 7 if command.number % 2 else command.number
        span, lines = {
            "": (None, []),
            "a-": ((first, None), [f"Range: bytes={first}-"]),
            "a-b": ((first, first + 5), [f"Range: bytes={first}-{first + 5}"]),
            "a-very large": (
                (first, 2**53 - 1),
                [f"Range: bytes={first}-{2**53 - 1}"],
            ),
        }[command.text]
        shown = self.model.visible(key)
        reading = Reading(key, span, shown, trio.current_time())
        client = self.site.connect()
        self.readings.append((reading, client))
        await client.request("GET", key, "Prefer: wait=3", *lines)
        self.tasks.start_soon(self.follow, reading, client)
        await wait_all_tasks_blocked()

    async def follow(self, reading: Reading, client: Client) -> None:
        """Read an answer to its end."""
        try:
            reading.answer = await client.head()
            reading.answered_s = trio.current_time()
            await client.rest()
        except trio.ClosedResourceError:
            reading.answer.is_whole = False
            assert reading.has_left

    async def do_leave(self, command: Command) -> None:
        """A reader goes away in the middle."""
        waiting = [one for one in self.readings if one[0].answer.is_whole is None]
        if command.target < len(waiting):
            reading, client = waiting[command.target]
            reading.has_left = True
            await client.close()

    async def do_condition(self, command: Command) -> None:
        """A conditional HEAD."""
        shown = self.model.visible(KEYS[command.target])
        if shown is None:
            return
        unchanged = 304 if shown.state == "complete" else 200
        line, status = [
            (f"If-None-Match: {shown.etag}", unchanged),
            ('If-None-Match: "other"', 200),
            (f"If-Match: {shown.etag}", 200),
            ('If-Match: "other"', 412),
        ][command.number]
        assert (await self.client.ask("HEAD", shown.key, line)).status == status

    async def do_list(self, command: Command) -> None:
        """LIST, whole or its first page."""
        prefix = ("/", "/a", "/b", "/b/")[command.target]
        delimiter = "/" if command.number % 2 else ""
        limit = command.number
        query = f"delimiter={delimiter}&after={command.text}"
        wanted = self.model.listing(prefix, delimiter, command.text)
        if limit:
            query += f"&limit={limit}"
            wanted = wanted[:limit]
        answer = await self.client.ask("LIST", f"{prefix}?{query}")
        assert answer.body.decode().split() == wanted

    async def do_sleep(self, command: Command) -> None:
        """Time passes; less in all than an upload may be idle."""
        await trio.sleep(0.1 * command.target)


@given(todo=commands())
def test_the_server_is_the_model(todo: list[Command]) -> None:
    async def test(site: Site) -> None:
        async with trio.open_nursery() as tasks:
            interpreter = Interpreter(site, tasks)
            await interpreter.run(todo)

    # Takeover has a property of its own.
    run_site(test, policies=[{"match": "*", "abort_grace": 0}])
