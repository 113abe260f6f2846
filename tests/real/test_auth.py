"""A real encoder with a token in its URL: refused first, then let in, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

pytest.importorskip("imageio_ffmpeg")

from chunkstore.auth import make_secret, secret_hash
from chunkstore.client import Client, Url
from chunkstore.demo.encoder import EncoderError, ffmpeg_command
from tests.real.parts import MPD_PATH, running_origin

pytestmark = pytest.mark.real

SECONDS = 4
SECRET = make_secret(b"e" * 32)
DEADLINE_S = 60


async def encode(port: int, credentials: str, *, is_persistent: bool, method: str) -> None:
    """Let the demo's ffmpeg send a stream."""
    try:
        command = ffmpeg_command(f"http://{credentials}127.0.0.1:{port}{MPD_PATH}")
    except EncoderError as error:
        pytest.skip(f"no ffmpeg: {error}")
    command[command.index("-http_persistent") + 1] = str(int(is_persistent))
    command[command.index("-method") + 1] = method
    command[-1:-1] = ["-t", str(SECONDS)]
    # It never looks at a status, and so may call a stream that was refused a success.
    await trio.run_process(command, capture_stderr=True, check=bool(credentials))


async def paths(port: int) -> list[str]:
    """What the origin has."""
    async with Client(Url("http", "127.0.0.1", port, "/")) as client:
        answer = await client.request("LIST", "/")
        return (await answer.body()).decode().split()


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("is_persistent", [False, True])
async def test_a_token_in_the_url(tmp_path: Path, is_persistent: bool, method: str) -> None:
    settings = tmp_path / "chunkstore.toml"
    settings.write_text(
        f'[[token]]\nname = "encoder"\nhash = "{secret_hash(SECRET)}"\n'
        'methods = "PUT DELETE"\nprefixes = "/live/"\n'
    )
    with trio.fail_after(DEADLINE_S):
        async with running_origin("--config", str(settings)) as port:
            await encode(port, "", is_persistent=is_persistent, method=method)
            assert await paths(port) == []
            user = f"encoder:{SECRET}@"
            await encode(port, user, is_persistent=is_persistent, method=method)
            found = await paths(port)
            assert MPD_PATH in found
            assert sum(path.endswith(".m4s") for path in found) >= 2 * (1 + SECONDS // 2)
