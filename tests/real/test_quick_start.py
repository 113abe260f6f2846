"""The commands of docs/quick-start.md, as they stand there, with a real ffmpeg, and in a browser.

Only what must differ does: ports, since others may use those of the page, and where ffmpeg is.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.build import BenchError
from bench.studio.browser import find_browser, open_tab
from bench.studio.packages import PLAYERS, player_script
from tests.docs.pages import DOCS, ROOT, block, commands
from tests.encoders.ffmpeg import ffmpeg_or_skip

pytestmark = pytest.mark.real

PAGE = DOCS / "quick-start.md"
DEADLINE_S = 60
KILL_S = 20
PLAYED_S = """(() => {
  const { played } = document.querySelector("video");
  let sum = 0;
  for (let at = 0; at < played.length; at++) sum += played.end(at) - played.start(at);
  return sum;
})()"""


@dataclass
class Desk:
    """An origin started as the page says, and a shell beside it.

    Attributes:
        url: of the origin.
        admin: of its admin listener.
        folder: where commands run.
    """

    url: str
    admin: str
    folder: Path
    environment: dict[str, str]
    rtmp_port: int

    def words(self, name: str) -> list[str]:
        """A block's commands, each fit for this desk."""
        return [self.fit(command) for command in commands(PAGE, name)]

    def fit(self, command: str) -> str:
        """A command with this desk's addresses."""
        for address, own in (
            ("http://127.0.0.1:8080", self.url),
            ("http://127.0.0.1:8081", self.admin),
            ("rtmp://127.0.0.1:1935", f"rtmp://127.0.0.1:{self.rtmp_port}"),
        ):
            command = command.replace(address, own)
        return command

    @contextmanager
    def running(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """A block's one command, until the end of the `with`; then Ctrl-C."""
        [command] = self.words(name)
        with self.shell(command) as process:
            yield process

    @contextmanager
    def shell(self, command: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command in a shell with a process group of its own, as a terminal has it."""
        process = subprocess.Popen(
            ["sh", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGINT)
                try:
                    process.wait(KILL_S)
                finally:
                    if process.returncode is None:
                        os.killpg(process.pid, signal.SIGKILL)

    def run(self, command: str) -> str:
        """A command to its end, which must be good."""
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def get(self, path: str) -> bytes:
        """The body of an object that is there."""
        with urllib.request.urlopen(self.url + path, timeout=DEADLINE_S) as answer:
            return bytes(answer.read())

    def names(self) -> dict[str, str]:
        """The path of each object, and its state."""
        lines = self.run(f"chunkstore ls -l -r {self.url}/").splitlines()
        return {line.split()[-1]: line.split()[1] for line in lines}

    def until(self, holds: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        """The objects, once something holds for them."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not holds(names := self.names()):
            assert time.monotonic() < deadline_s, names
            time.sleep(0.1)
        return names

    def refused(self) -> list[str]:
        """Uploads that were refused: ffmpeg doesn't say."""
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=DEADLINE_S) as answer:
            text = answer.read().decode()
        return re.findall(r"^chunkstore_uploads_refused_total\{.*", text, re.MULTILINE)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """What the reader of the page has after its first step."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "ffmpeg").symlink_to(ffmpeg_or_skip())
    program = bin_folder / "chunkstore"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m chunkstore "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        rtmp_port = listener.getsockname()[1]
    [command] = commands(PAGE, "serve")
    command = command.replace(":8081", ":0") + " --listen 127.0.0.1:0 --log off"
    with subprocess.Popen(
        command.split(), env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline() + process.stderr.readline()
            urls = dict(re.findall(r"(\w+) on (http://\S+)", said))
            made = Desk(urls["listening"], urls["admin"], tmp_path, environment, rtmp_port)
            yield made
            assert made.refused() == []
            process.send_signal(signal.SIGTERM)
            assert process.wait(KILL_S) == 0
        finally:
            process.kill()


def is_live(folder: str, count: int = 2) -> Callable[[dict[str, str]], bool]:
    """Whether a folder has that many whole segments of the first track, and another that grows."""

    def holds(names: dict[str, str]) -> bool:
        segments = {
            name: state for name, state in names.items() if f"{folder}chunk-stream0" in name
        }
        states = list(segments.values())
        return states.count("complete") >= count and "open" in states

    return holds


def test_dash_grows_is_listed_and_followed(desk: Desk) -> None:
    with desk.running("dash"):
        desk.until(is_live("/live/", 1))
        listing, watching, tail = desk.words("look")
        assert "/live/a.mpd" in desk.run(listing)
        with desk.shell(watching) as process:
            assert process.stdout is not None
            assert b"/live/" in process.stdout.readline()
        followed(desk, tail)
        assert b'type="dynamic"' in desk.get("/live/a.mpd")
    # Ctrl-C ended the last segment whole.
    assert set(desk.names().values()) == {"complete"}


def followed(desk: Desk, tail: str) -> None:
    """The page's `tail`, and then of later segments, until one of them is met while it grows."""
    deadline_s = time.monotonic() + DEADLINE_S
    said = ""
    for number in range(2, 100):
        said = desk.run(tail.replace("00002", f"{number:05}"))
        if re.search(r"^\d+ chunks, \d+ bytes; [1-9]\d* live, gap p50 \d", said, re.MULTILINE):
            return
        # A machine that takes seconds to start a program comes when the segment is complete.
        assert "complete" in said, said
        assert time.monotonic() < deadline_s, said
    raise AssertionError(said)


def test_the_five_lines_of_the_readme(desk: Desk) -> None:
    serve, encoder, read = commands(ROOT / "README.md", "five")
    assert serve == ".venv/bin/chunkstore serve &"
    with desk.shell(desk.fit(encoder).removesuffix("&")):
        # What curl would send, since a machine may have none.
        words = shlex.split(desk.fit(read))
        name, value = words[words.index("-H") + 1].split(": ")
        [url] = [word for word in words if word.startswith("http")]
        asked = urllib.request.Request(url, headers={name: value})
        with urllib.request.urlopen(asked, timeout=DEADLINE_S) as answer:
            assert answer.headers["Chunkstore-State"] == "open"
            body = answer.read()
    assert body.count(b"moof") == 60  # two seconds of frames, each a chunk


def test_hls_playlists_beside_dash(desk: Desk) -> None:
    with desk.running("both"):
        desk.until(is_live("/live/"))
        assert b"media_0.m3u8" in desk.get("/live/master.m3u8")
        assert b"chunk-stream0-00001.m4s" in desk.get("/live/media_0.m3u8")
        assert b"<MPD" in desk.get("/live/a.mpd")


def test_hls_alone(desk: Desk) -> None:
    with desk.running("hls"):
        desk.until(lambda names: names.get("/hls/a1.m4s") == "complete")
        playlist = desk.get("/hls/a.m3u8").decode()
    assert playlist.startswith("#EXTM3U")
    assert "a0.m4s" in playlist
    assert b"moof" in desk.get("/hls/a0.m4s")


def test_the_relay_behind_obs(desk: Desk) -> None:
    # In the place of OBS: the page's encoder, sent to where OBS is told to send.
    [encoder] = desk.words("dash")
    encoded, _, _ = encoder.partition(" -f dash ")
    table = PAGE.read_text(encoding="utf-8")
    told = re.search(r"server `(rtmp:\S+)`, stream key `(\w+)`", table)
    assert told is not None
    target = f"{told[1]}/{told[2]}".replace(":1935", f":{desk.rtmp_port}")
    with desk.running("relay") as relay:
        # It says nothing once it listens; a connection to look would be the one it waits for.
        pushing = f"{encoded} -f flv {target}"
        again = f"for _ in $(seq 50); do {pushing} && break; sleep 0.2; done"
        with desk.shell(again):
            desk.until(is_live("/live/", 1))
        relay.wait(KILL_S)  # ends with who it served
    names = desk.names()
    assert names["/live/obs.mpd"] == names["/live/chunk-stream1-00001.m4s"] == "complete"


def test_stdin_is_followed(desk: Desk) -> None:
    with desk.running("pipe"):
        desk.until(lambda names: names.get("/live/a.ts") == "open")
        with urllib.request.urlopen(f"{desk.url}/live/a.ts", timeout=DEADLINE_S) as answer:
            some = answer.read(188 * 20)
    assert some[0::188] == b"\x47" * 20


def test_beyond_this_machine(desk: Desk) -> None:
    token, serve = desk.words("beyond")
    desk.run(token)
    serve = re.sub(r":80\d\d\b", ":0", serve) + " --log off 2>&1"
    with desk.shell(serve) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().split(" on ")[1].strip()
        url = url.replace("0.0.0.0", "127.0.0.1")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(urllib.request.Request(f"{url}/live/a", b"some", method="PUT"))


@pytest.mark.parametrize(
    ("encoder", "manifest"),
    [("dash", "/live/a.mpd"), ("both", "/live/master.m3u8"), ("hls", "/hls/a.m3u8")],
)
def test_the_page_plays(desk: Desk, encoder: str, manifest: str) -> None:
    try:
        find_browser()
        scripts = [player_script(name) for name in PLAYERS]
    except BenchError as error:
        pytest.skip(str(error))
    (desk.folder / "watch.html").write_text(block(PAGE, "page"), encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    for (package, version, _), script in zip(PLAYERS.values(), scripts, strict=True):
        assert f" {package}@{version}" in text
        [modules] = [above for above in script.parents if above.name == "node_modules"]
        (desk.folder / "node_modules").mkdir(exist_ok=True)
        (desk.folder / "node_modules" / package).symlink_to(modules / package)
    for command in desk.words("store"):
        desk.run(command)
    with ExitStack() as stack:
        stack.enter_context(desk.running(encoder))
        media = manifest.replace("master", "media_0")  # of HLS, what the manifest leads to
        desk.until(lambda names: {manifest, media} <= set(names))
        tab = stack.enter_context(open_tab(f"{desk.url}/watch/watch.html?{manifest}"))
        deadline_s = time.monotonic() + DEADLINE_S
        while tab.ask(PLAYED_S) < 2:
            assert time.monotonic() < deadline_s, (tab.statuses, tab.failures, tab.said)
            time.sleep(0.2)
    assert tab.failures == {}
