"""What the commands that talk to a server share: the URL, flags, and how a job runs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TextIO, TypeVar

import click
import trio

from chunkstore.cli.columns import one_line
from chunkstore.client import Client, Timeouts, Url, check_token, parse_url
from chunkstore.config import ENVIRONMENT_PREFIX
from chunkstore.transfer import Backoff, Retrying
from chunkstore.units import parse_duration, parse_size

__all__ = [
    "DURATION",
    "SIZE",
    "URL",
    "Remote",
    "is_terminal",
    "note",
    "remote_options",
    "run",
    "say",
    "stdin_fd",
    "stdout_fd",
    "timeout_option",
    "timeouts_of",
    "token_option",
]

_F = TypeVar("_F", bound=Callable[..., object])
_DEFAULT = Timeouts()


class _Parsed(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """A value as one of our readers takes it, whose ValueError is the message."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


def _positive(parse: Callable[[str], float]) -> Callable[[str], object]:
    def convert(text: str) -> object:
        value = parse(text)
        if value <= 0:
            raise ValueError(f"expected more than 0, got {text!r}")
        return value

    return convert


URL = _Parsed("url", parse_url)
SIZE = _Parsed("size", _positive(lambda text: parse_size(text.removesuffix("/s"))))
DURATION = _Parsed("time", _positive(parse_duration))
_TOKEN = _Parsed("token", check_token)


timeout_option = click.option(
    "--timeout",
    type=DURATION,
    metavar="TIME",
    default=f"{_DEFAULT.stall_s:g}s",
    show_default=True,
    help="How long nothing may move; the whole may take any time.",
)
token_option = click.option(
    "--token",
    type=_TOKEN,
    metavar="TOKEN",
    envvar=f"{ENVIRONMENT_PREFIX}TOKEN",
    help=f"Bearer token; user:password@ in the URL wins over it.  [{ENVIRONMENT_PREFIX}TOKEN]",
)


def timeouts_of(timeout_s: float) -> Timeouts:
    """How long to wait, as `timeout_option` says."""
    return Timeouts(min(_DEFAULT.connect_s, timeout_s), timeout_s)


@dataclass(frozen=True, slots=True)
class Remote:
    """How to talk to a server, as the flags say.

    Attributes:
        token: bearer token, where a URL has no credentials.
        timeouts: how long to wait for something to move.
        backoff: when to try again.
    """

    token: str | None
    timeouts: Timeouts
    backoff: Backoff

    def client(self, url: Url) -> Client:
        """A client of the URL's server."""
        return Client(url, token=self.token, timeouts=self.timeouts)

    def retrying(self, tell: Callable[[str], None]) -> Retrying:
        """The tries of one job."""
        return Retrying(self.backoff, tell)


def remote_options(function: _F) -> _F:
    """Give a command the flags that make a `Remote`, which it gets as `remote`."""

    def made(token: str | None, timeout: float, retries: int, **others: object) -> object:
        return function(remote=Remote(token, timeouts_of(timeout), Backoff(retries)), **others)

    made.__doc__, made.__name__ = function.__doc__, function.__name__
    made.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]  # click's own
    retries_option = click.option(
        "--retries",
        type=click.IntRange(0, 1000),
        metavar="N",
        default=Backoff().retries,
        show_default=True,
        help="Tries after the first, for lost connections and 5xx; never after 4xx.",
    )
    for option in (retries_option, timeout_option, token_option):
        made = option(made)
    return made  # type: ignore[return-value]  # it takes the flags beside what it took


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody may look at a standard stream; None stands for a closed one."""
    return stream is not None and stream.isatty()


def stdin_fd() -> int:
    """The descriptor of standard input, for bytes past Python's buffers.

    Raises:
        OSError: it is closed; by now the number may be that of something else.
    """
    if sys.stdin is None:
        raise OSError("standard input is closed")
    return 0


def stdout_fd() -> int:
    """The descriptor of standard output. As `stdin_fd`."""
    if sys.stdout is None:
        raise OSError("standard output is closed")
    return 1


def note(text: str) -> None:
    """One line on stderr, beside what the command prints."""
    click.echo(f"chunkstore: {one_line(text)}", err=True)


def say(text: str) -> None:
    """One line of output; a pipe that nobody reads doesn't keep a Ctrl-C waiting.

    The loop stands still meanwhile, and hears of nothing.

    Raises:
        click.Abort: it was interrupted; this line and all others are given up.
    """
    receiver = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        click.echo(text)
    except KeyboardInterrupt:
        with open(os.devnull, "wb") as nowhere:  # or the process's end would wait there again
            os.dup2(nowhere.fileno(), stdout_fd())
        raise click.Abort from None
    finally:
        signal.signal(signal.SIGINT, receiver)


def run(job: Callable[[], Awaitable[int]]) -> int:
    """Run a job to its end, or to Ctrl-C, which lets it clean up first.

    Returns:
        the exit code.
    Raises:
        KeyboardInterrupt: it was interrupted.
        Exception: what the job raised, without a group around it.
    """
    return trio.run(_run, job)


async def _run(job: Callable[[], Awaitable[int]]) -> int:
    code: int | None = None
    failure: Exception | None = None

    async def obey_signals(*, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGINT) as signals:
            task_status.started()
            async for _ in signals:
                nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        await nursery.start(obey_signals)
        try:
            code = await job()
            if sys.stdout is not None:
                sys.stdout.flush()
        except Exception as error:  # raised again below, where no nursery wraps it
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if code is None:
        raise KeyboardInterrupt
    return code
