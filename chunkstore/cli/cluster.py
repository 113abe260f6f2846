"""`chunkstore cluster`: a gateway and its nodes on one machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import trio

from chunkstore.cli.cluster_check import check
from chunkstore.cli.cluster_status import status
from chunkstore.cli.recover import recover

__all__ = ["cluster"]


@click.group(invoke_without_command=True, short_help="Run a cluster on one machine.")
@click.option(
    "--nodes", metavar="N", type=click.IntRange(5, 64), default=7, show_default=True,
    help="Storage servers; with 5 there is no parity, with 7 any two may be lost.",
)  # fmt: skip
@click.option(
    "--data", metavar="FOLDER", default=None,
    help="Folder for all their data, with which a cluster goes on; none: one that goes at the end.",
)  # fmt: skip
@click.option(
    "--listen", metavar="ADDRESS", multiple=True, default=("127.0.0.1:8080",), show_default=True,
    help="Addresses of the gateway.",
)  # fmt: skip
@click.pass_context
def cluster(context: click.Context, nodes: int, data: str | None, listen: tuple[str, ...]) -> None:
    """Run a gateway and its storage servers as processes on this machine, until SIGTERM or SIGINT.

    Prints "nodes at URL", the command that shows its status, and "listening on URL" on stderr once
    all of them are there. For more than one machine there are `chunkstore gateway` and `chunkstore
    node`.
    """
    if context.invoked_subcommand is not None:
        return
    from chunkstore.cluster.local import LocalCluster

    def say(line: str) -> None:
        click.echo(line, err=True)

    def run(folder: Path) -> None:
        trio.run(LocalCluster(folder, listen, nodes, announce=say, say=say).run)

    if data is not None:
        run(Path(data))
    else:
        with tempfile.TemporaryDirectory(prefix="chunkstore-") as folder:
            run(Path(folder))


cluster.add_command(status)
cluster.add_command(check)
cluster.add_command(recover)
