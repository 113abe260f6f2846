"""`chunkstore cluster status`: nodes, how safe objects are, and what is being repaired."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from chunkstore.cli.columns import printable, rough_size, rough_time, table_lines
from chunkstore.cli.options import load_secret, secret_option
from chunkstore.cli.remote import URL, run, timeout_option, timeouts_of
from chunkstore.client import Url
from chunkstore.errors import FetchError

__all__ = ["status", "status_lines"]

_HEAD = ("node", "address", "state", "fill", "live", "capacity", "id")
_RIGHT = (0, 3, 4, 5)


@click.command(short_help="Show nodes, redundancy and repairs of a cluster.")
@click.argument("url", type=URL, metavar="URL")
@secret_option(is_required=True)
@click.option("--json", "as_json", is_flag=True, help="A line of JSON, as the gateway says it.")
@timeout_option
def status(url: Url, secret_file: str, as_json: bool, timeout: float) -> int:
    """Show what a gateway knows of its cluster: nodes, fill, redundancy, repairs and their ETA.

    URL is its address for nodes: what `chunkstore gateway` and `chunkstore cluster` say behind
    "nodes at". Exit code 1: it can't be asked, or refuses.
    """
    secret = load_secret(secret_file)
    from chunkstore.cluster.inquiry import Inquiry
    from chunkstore.cluster.sign import Signer

    async def show() -> int:
        async with Inquiry(url, Signer(secret), timeouts=timeouts_of(timeout)) as inquiry:
            members = await inquiry.status()
        if as_json:
            click.echo(json.dumps(members))
            return 0
        try:
            lines = status_lines(members)
        except ValueError as error:
            raise FetchError(f"{error}: --json shows it") from error
        for line in lines:
            click.echo(line)
        return 0

    return run(show)


def status_lines(members: dict[str, Any]) -> list[str]:
    """What people read of a status.

    Raises:
        ValueError: it isn't one.
    """
    try:
        return [printable(line) for line in _lines(members)]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError("what the gateway says is not what this version knows") from error


def _lines(members: dict[str, Any]) -> Iterator[str]:
    nodes = members["nodes"]
    up_count = sum(node["is_up"] for node in nodes)
    note = members["parity_note"]
    yield (
        f"cluster {members['cluster']}: {len(nodes)} nodes, {up_count} up;"
        f" {5 + members['parity']} parts an object, {members['parity']} of them parity"
        + (f" ({note})" if note else "")
    )
    yield from table_lines([_HEAD, *map(_node_row, nodes)], _RIGHT)
    objects = members["objects"]
    yield (
        f"objects: {objects['count']} ({rough_size(objects['bytes'])}); whole {objects['whole']},"
        f" one part short {objects['one_short']}, two parts short {objects['two_short']},"
        f" unreadable {objects['unreadable']}"
    )
    damaged = members["damaged_parts"]
    if damaged["found"]:
        yield (
            f"damaged parts: {damaged['known']} known, {damaged['found']} found and"
            f" {damaged['mended']} mended since the start"
        )
    if members["repair"] is not None:
        yield f"repair: {_repair(members['repair'])}"
    for name in ("scrub", "move", "survey"):
        if members[name]:
            told = (f"{key} {value}" for key, value in members[name].items())
            yield f"{name}: {', '.join(told)}"
    for trouble in members["trouble"]:
        yield f"trouble: {trouble}"


def _node_row(node: dict[str, Any]) -> tuple[str, ...]:
    state = f"{'up' if node['is_up'] else 'gone'} {rough_time(node['since_s'])}"
    fill, live = node["fill"], node["live_bytes"]
    return (
        str(node["number"]),
        str(node["address"]),
        state,
        "-" if fill is None else f"{100 * fill:.1f} %",
        "-" if live is None else rough_size(live),
        rough_size(node["capacity_bytes"]),
        str(node["id"]),
    )


def _repair(repair: dict[str, Any]) -> str:
    if not repair["waiting"] and not repair["bytes"]:
        words = "nothing to be done"
    else:
        waiting = ", ".join(
            f"{count} with {spare} to spare" for spare, count in repair["waiting"].items()
        )
        if repair["left_out"]:
            waiting += f" and {repair['left_out']} more"
        eta_s = repair["eta_s"]
        eta = "no telling when" if eta_s is None else f"done in {rough_time(eta_s)}"
        rate = f"at {rough_size(repair['bytes_s'])}/s" if repair["bytes_s"] else "not begun"
        words = f"{waiting}; {rough_size(repair['bytes'])} to be written, {rate}, {eta}"
    if repair["unreadable"]:
        words += f"; {repair['unreadable']} can't be read for now"
    return f"paused, too many nodes are gone: {words}" if repair["is_paused"] else words
