"""`chunkstore worker verify` and `gc`: what is done to a data dir that no worker uses."""

from __future__ import annotations

import json
from pathlib import Path

import click

from chunkstore.cli.columns import printable
from chunkstore.cli.remote import note

__all__ = ["gc", "verify"]

_DATA = click.option(
    "--data",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    required=True,
    help="Folder of chunks; no worker may use it meanwhile.",
)


@click.command(short_help="Read all chunks of a data dir that no worker uses.")
@_DATA
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each chunk.")
def verify(folder: Path, as_json: bool) -> int:
    """Read every file of every chunk that is whole, and hold it against its SHA-256.

    Nothing is changed: a chunk that is damaged is put right by deleting it and asking for it again.
    Exit codes: 0 all is right; 1 a chunk is damaged, each named on a line; 2 it is no such folder.
    """
    from chunkstore.worker.disk import check

    chunks = check.open_existing(folder)
    count = size_bytes = damaged_count = 0
    try:
        for checked in check.verify(chunks):
            count, size_bytes = count + 1, size_bytes + checked.size_bytes
            damaged_count += bool(checked.problems)
            name, chunk_id = checked.found.name, checked.found.name.id.hex()
            if as_json:
                dataset_id = checked.found.dataset_id.hex()
                members = {
                    "id": chunk_id,
                    "dataset_id": dataset_id,
                    "block_range": [name.start, name.stop],
                    "size_bytes": checked.size_bytes,
                    "problems": checked.problems,
                }
                click.echo(json.dumps(members))
                continue
            for problem in checked.problems:
                click.echo(f"damaged: {chunk_id}: {printable(problem)}")
    finally:
        chunks.close()
    if not as_json:
        verdict = f"{damaged_count} damaged" if damaged_count else "all is right"
        click.echo(f"{count} chunks, {size_bytes} bytes: {verdict}")
    return 1 if damaged_count else 0


@click.command(short_help="Remove what is left over in a data dir that no worker uses.")
@_DATA
def gc(folder: Path) -> int:
    """Remove chunks on their way, in or out. A worker does the same by itself, but for those on
    their way in that are still wanted: what came of them is lost with this.
    """
    from chunkstore.worker.disk import check

    chunks = check.open_existing(folder)
    try:
        gone = check.clear(chunks)
    finally:
        chunks.close()
    counts = f"{gone.partial_count} on their way, {gone.doomed_count + gone.trash_count} deleted"
    click.echo(f"removed chunks: {counts}; {gone.size_bytes} bytes")
    for path in gone.strangers:
        note(f"{printable(path)} is not ours, and stays")
    return 0
