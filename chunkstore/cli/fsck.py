"""`chunkstore fsck`: what a data dir has, and what is the matter with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chunkstore.cli.columns import printable

if TYPE_CHECKING:
    from chunkstore.store.disk.fsck import Findings

__all__ = ["fsck", "render"]


@click.command(short_help="Check a data dir that no server uses.")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--repair",
    "repairs",
    is_flag=True,
    help="Mend what a start would mend. Nothing is deleted because it is damaged.",
)
@click.option("--json", "as_json", is_flag=True, help="All of it as one line of JSON.")
def fsck(folder: Path, repairs: bool, as_json: bool) -> int:
    """Read every record and every object of the data dir DIR, and say what is there.

    Nothing in it is touched without --repair. A server's start mends the same by itself; what is
    damaged can't be mended here: put such objects again, or delete them.

    Exit codes: 0 all is right, or was mended; 1 something is damaged, or a start would mend it;
    2 DIR is no data dir, in use, of another version, or can't be read.
    """
    from chunkstore.store.disk.fsck import check, repair

    found = check(folder)
    is_repaired = repairs and found.is_mendable
    if is_repaired:
        repair(folder, found)
    if as_json:
        click.echo(json.dumps({**asdict(found), "repaired": is_repaired}))
    else:
        for line in render(found, is_repaired=is_repaired):
            click.echo(line)
    return 1 if found.is_damaged or (found.is_mendable and not is_repaired) else 0


def render(found: Findings, *, is_repaired: bool) -> Iterator[str]:
    """The lines for people: what there is, what is mended or would be, what is damaged."""
    yield f"format {found.format}, id {found.dir_id}"
    counts = f"{found.volume_count} shared, {found.own_count} of large objects"
    yield f"volumes: {counts}; {found.volume_bytes} bytes, {found.garbage_bytes} of them garbage"
    yield f"objects: {found.object_count}; {found.object_bytes} bytes"
    if found.upload_count:
        yield f"uploads without a commit: {found.upload_count}, which count for nothing"
    for name in found.set_aside:
        yield f"{name} was set aside: damage may have taken its commit"
    yield from _mended(found, "mended" if is_repaired else "a start or --repair mends")
    yield from _damaged(found)
    if found.is_damaged:
        yield "damaged; that can't be mended here, and nothing is deleted because of it"
    elif not found.is_mendable:
        yield "all is right"


def _mended(found: Findings, prefix: str) -> Iterator[str]:
    for name, size in found.torn.items():
        yield f"{prefix}: {name}: {size} bytes at its end were never acknowledged"
    for name in found.orphans:
        yield f"{prefix}: {name} is of an upload without a commit"
    if found.index == "wrong":
        yield f"{prefix.removeprefix('a start or ')}: the index contradicts the volumes"
    elif found.index != "right":
        detail = f": {found.index_detail}" if found.index_detail else ""
        yield f"{prefix}: the index is {found.index}{detail}"
    for key in found.missing:
        yield f"{prefix}: {printable(key)} is in the index and in no volume"


def _damaged(found: Findings) -> Iterator[str]:
    for flaw in found.flaws:
        where = f"{flaw.size_bytes} bytes at {flaw.position} of {flaw.volume}"
        if not flaw.is_record:
            yield f"damaged: {printable(flaw.key)}: {where}"
        elif flaw.key:
            yield f"damaged: {printable(flaw.key)}: the record around its bytes: {where}"
        else:
            yield f"damaged: {where}, which no object that is there needs"
    for key in found.not_whole:
        yield f"damaged: {printable(key)}: bytes of it are in no volume"
    for key in found.unbacked:
        yield f"damaged: {printable(key)}: the index alone says what it is"
