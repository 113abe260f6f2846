"""`chunkstore cluster check`: whether a deployed service does what it promises."""

from __future__ import annotations

import time
from functools import partial

import click

from chunkstore.cli.columns import printable, seconds
from chunkstore.cli.options import load_secret, secret_option
from chunkstore.cli.remote import URL, run, timeout_option, timeouts_of, token_option
from chunkstore.client import Client, Url

__all__ = ["check"]


@click.command(short_help="Try a deployed service: exit code 1 if it fails.")
@click.argument("url", type=URL, metavar="URL")
@click.option(
    "--nodes-at", type=URL, metavar="URL", default=None,
    help="The gateway's address for nodes: its parts are looked at, too; takes --secret-file.",
)  # fmt: skip
@secret_option(is_required=False)
@timeout_option
@token_option
def check(
    url: Url, nodes_at: Url | None, secret_file: str | None, timeout: float, token: str | None
) -> int:
    """PUT, GET, join and compare objects of a running service, and say what it does wrong.

    URL is what its users have, with or without a folder. All is written under a new name
    ".check-…" in there, some 100 MB in turn, and taken away at the end, also after Ctrl-C. With
    --nodes-at the five data parts of objects are fetched from the nodes and joined here, too. A
    line a check; exit code 1 if one failed.
    """
    if nodes_at is not None and secret_file is None:
        raise click.UsageError("--nodes-at takes --secret-file.")
    secret = load_secret(secret_file) if nodes_at is not None and secret_file is not None else b""
    from chunkstore.cluster.check import (
        CHECKS,
        Outcome,
        Peer,
        own_prefix,
        parts_on_nodes,
        run_checks,
    )
    from chunkstore.cluster.inquiry import Inquiry
    from chunkstore.cluster.links import Links
    from chunkstore.cluster.sign import Signer

    timeouts = timeouts_of(timeout)
    outcomes: list[Outcome] = []

    def told(outcome: Outcome) -> None:
        outcomes.append(outcome)
        word, flaw = ("FAILED", f": {outcome.flaw}") if outcome.flaw else ("ok", "")
        click.echo(printable(f"{word:<6} {seconds(outcome.seconds):>9}  {outcome.name}{flaw}"))

    async def try_all() -> int:
        peer = Peer(partial(Client, url, token=token, timeouts=timeouts), own_prefix(url.path))
        if nodes_at is None:
            await run_checks(peer, told)
        else:
            signer = Signer(secret)
            async with Inquiry(nodes_at, signer, timeouts=timeouts) as inquiry:
                link = partial(Links, signer=signer, wall_s=time.time)
                parts = partial(parts_on_nodes, inquiry=inquiry, link=link)
                name = "five equal parts on nodes of their own, joined from there"
                await run_checks(peer, told, [*CHECKS, (name, parts)])
        failed = sum(bool(one.flaw) for one in outcomes)
        click.echo(f"{failed} of {len(outcomes)} failed" if failed else f"all {len(outcomes)} ok")
        return 1 if failed else 0

    return run(try_all)
