"""`chunkstore cluster recover`: metadata that was lost, from what the nodes have."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chunkstore.cli.options import load_secret
from chunkstore.cli.remote import DURATION, note, run
from chunkstore.config import Settings
from chunkstore.errors import SettingsError

if TYPE_CHECKING:
    from chunkstore.cluster.recover.build import Report

__all__ = ["recover"]

_NAMED_COUNT = 100


@click.command(short_help="Make metadata that was lost anew.")
@click.option(
    "--data", metavar="FOLDER", required=True, type=click.Path(path_type=Path),
    help="Where the new metadata will be; there is nothing there yet.",
)  # fmt: skip
@click.option(
    "--cluster-listen", "addresses", metavar="ADDRESS", multiple=True,
    default=("127.0.0.1:8090",), show_default=True,
    help="Where the storage servers look for their gateway, which must not run.",
)  # fmt: skip
@click.option(
    "--secret-file", metavar="FILE", required=True,
    help="File with the secret that all of the cluster share.",
)  # fmt: skip
@click.option(
    "--nodes", "count", metavar="N", required=True, type=click.IntRange(1, 1024),
    help="How many storage servers to wait for: all there are, but for those lost for good.",
)  # fmt: skip
@click.option(
    "--timeout", "timeout_s", metavar="TIME", type=DURATION, default="2m", show_default=True,
    help="How long to wait for them.",
)  # fmt: skip
@click.option(
    "--drop-incomplete", is_flag=True,
    help="Go on although of some uploads too few parts are left: those will be taken away.",
)  # fmt: skip
def recover(
    data: Path,
    addresses: tuple[str, ...],
    secret_file: str,
    count: int,
    timeout_s: float,
    drop_incomplete: bool,
) -> None:
    """Make the metadata of a cluster from what its storage servers have, in the gateway's place.

    They come by themselves, since they look for their gateway all the time. A copy of the metadata
    that they keep saves time; without one every part is asked what it is. Then start `chunkstore
    gateway` with the new folder at the same address. What was deleted after the last copy may be
    back.

    Exit codes: 0 done; 1 storage servers are missing, or there is what can't be read; 2 FOLDER
    isn't empty, or another setting is wrong. But for 0 nothing was made.
    """
    secret = load_secret(secret_file)
    from chunkstore import process
    from chunkstore.cluster.recover import recovery

    order = recovery.Order(data, count, timeout_s, drop_incomplete)
    with ExitStack() as stack:
        try:
            settings = Settings(cluster_listen=addresses)
            if any(address.unix_path for address in settings.cluster_addresses):
                raise ValueError("nodes come over the network: expected HOST:PORT")
            listeners = process.listen_for_nodes(settings, stack, note)
        except ValueError as error:
            raise SettingsError("cluster_listen", str(error)) from None
        except OSError as error:
            raise SettingsError("cluster_listen", error.strerror or str(error)) from error

        async def job() -> int:
            _show(await recovery.recover(order, secret, listeners, note))
            return 0

        run(job)


def _show(report: Report) -> None:
    """What was found, for people."""
    for lost in report.incomplete[:_NAMED_COUNT]:
        note(f"dropped: {lost.key or 'what no part names'}, generation {lost.generation}")
    for line in (
        f"objects: {report.object_count}, {report.awaited_count} of them not to be read for now",
        f"read from parts: {report.described_count}, others from a copy of the metadata",
        f"older, to be collected: {report.superseded_count + report.ended_count}",
        f"in the copy, and on no storage server: {report.gone_count}",
        f"dropped, since too few parts are left: {len(report.incomplete)}",
    ):
        click.echo(line)
