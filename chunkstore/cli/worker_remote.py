"""`chunkstore worker ls`, `find` and `status`: what a running worker has."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from typing import Any

import click

from chunkstore.cli.columns import printable
from chunkstore.cli.remote import URL, Remote, remote_options, run
from chunkstore.client import Answer, Url, expect
from chunkstore.errors import FetchError

__all__ = ["find", "ls", "status"]

LINE_BYTES = 1 << 20
_STRANGE = "what the server says is not a worker's: is it one?"
_WORKER = click.argument("url", type=URL, metavar="URL")
_JSON = click.option("--json", "as_json", is_flag=True, help="As the worker says it.")


@click.command(short_help="List the chunks that a worker has.")
@_WORKER
@click.option("--dataset", metavar="ID", default="", help="Those of one dataset, by its hex id.")
@_JSON
@remote_options
def ls(url: Url, dataset: str, as_json: bool, remote: Remote) -> int:
    """List the chunks that are wholly at the worker at URL: dataset, blocks, id."""

    async def job() -> int:
        async with remote.client(url) as client:
            query = f"?dataset={dataset}" if dataset else ""
            answer = await client.request("GET", _at(url, "/chunks") + query)
            await expect(answer, 200)
            async for line in _lines(answer):
                click.echo(line if as_json else _row(_object(line)))
        return 0

    _check_hex(dataset, "--dataset")
    return run(job)


@click.command(short_help="Find the chunk that has a block.")
@_WORKER
@click.argument("dataset", metavar="DATASET")
@click.argument("block", type=click.IntRange(0, 2**63 - 2), metavar="BLOCK")
@_JSON
@remote_options
def find(url: Url, dataset: str, block: int, as_json: bool, remote: Remote) -> int:
    """Print which chunk of the worker at URL has a block of a dataset, and where its files are.

    Exit code 1: no chunk has it that is wholly there.
    """

    async def job() -> int:
        async with remote.client(url) as client:
            path = _at(url, f"/datasets/{dataset}/blocks/{block}")
            answer = await client.request("GET", path)
            await expect(answer, 200)
            body = (await answer.body()).decode("utf-8", "replace").rstrip("\n")
        if as_json:
            click.echo(body)
            return 0
        for line in _found_lines(url, _object(body)):
            click.echo(printable(line))
        return 0

    _check_hex(dataset, "DATASET")
    return run(job)


@click.command(short_help="Say how it stands with a worker.")
@_WORKER
@_JSON
@remote_options
def status(url: Url, as_json: bool, remote: Remote) -> int:
    """Print what the worker at URL has, what is on its way, and what is wrong.

    Exit code 1: something is.
    """

    async def job() -> int:
        async with remote.client(url) as client:
            answer = await client.request("GET", _at(url, "/status"))
            await expect(answer, 200)
            body = (await answer.body()).decode("utf-8", "replace").rstrip("\n")
        members = _object(body)
        if as_json:
            click.echo(body)
        else:
            with _taken_apart():
                lines = _status_lines(members)
            for line in lines:
                click.echo(printable(line))
        return 1 if members.get("troubles") else 0

    return run(job)


@contextmanager
def _taken_apart() -> Generator[None]:
    """Members of a worker's answer are used inside.

    Raises:
        FetchError: they aren't what a worker says.
    """
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError):
        raise FetchError(_STRANGE) from None


def _found_lines(url: Url, members: dict[str, Any]) -> list[str]:
    lines = [_row(members)]
    with _taken_apart():
        for name, facts in dict(members["files"]).items():
            where = url.at(_at(url, str(facts["url"])))
            lines.append(f"{facts['size_bytes']:>13} {facts['sha256']} {name} {where}")
    return lines


def _status_lines(members: dict[str, Any]) -> list[str]:
    counts = ", ".join(f"{count} {state}" for state, count in dict(members["chunks"]).items())
    lines = [
        f"chunks: {counts}; {members['references']} references held",
        f"bytes: {members['stored_bytes']} here, {members['claimed_bytes']} on their way",
        f"downloads: {members['downloads']}, failures {members['failures']},"
        f" {members['fetched_bytes']} bytes fetched",
    ]
    assignment = members["assignment"]
    if assignment is not None:
        count = "none so far" if assignment["chunks"] is None else f"{assignment['chunks']} chunks"
        lines.append(f"assignment: {assignment['source']}: {count}")
    lines += [f"trouble: {trouble}" for trouble in members["troubles"]]
    lines += [
        f"{one['state']}: {one['id']}: {one['error']}" for one in members["others"] if one["error"]
    ]
    return lines


def _at(url: Url, path: str) -> str:
    """A path of the worker, which may be below another one."""
    return url.path.rstrip("/") + path


async def _lines(answer: Answer) -> AsyncIterator[str]:
    left = b""
    while (piece := await answer.piece()) is not None:
        *lines, left = (left + piece.data).split(b"\n")
        if len(left) > LINE_BYTES:
            raise FetchError(f"{answer.asked}: a line has more than {LINE_BYTES} bytes")
        for line in lines:
            yield line.decode("utf-8", "replace")


def _object(text: str) -> dict[str, Any]:
    """A JSON object of a worker.

    Raises:
        FetchError: it is none.
    """
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise FetchError(_STRANGE)
    return members


def _row(members: dict[str, Any]) -> str:
    """A chunk on a line: dataset, blocks, id."""
    with _taken_apart():
        start, stop = members["block_range"]
        blocks = f"{start}-{stop}"
        return printable(f"{members['dataset_id']} {blocks:>25} {members['id']}")


def _check_hex(text: str, what: str) -> None:
    if text and (len(text) != 64 or set(text.lower()) - set("0123456789abcdef")):
        raise click.UsageError(f"{what}: expected 64 hex digits.")
