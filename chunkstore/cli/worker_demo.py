"""`chunkstore worker demo`: see workers follow assignments that change every second."""

from __future__ import annotations

import sys

import click

from chunkstore.cli.remote import is_terminal

__all__ = ["demo"]


@click.command(short_help="See three workers follow assignments that change every second.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=1, max=86400),
    metavar="N",
    default=20.0,
    show_default=True,
    help="How long assignments change.",
)
def demo(seconds: float) -> int:
    """Run three workers on a storage that fails on purpose, with readers all the while.

    Their assignments overlap and change every second; each answer is held against what the storage
    has. Exit code 0: every answer was right, and everything settled at the end; else 1.
    """
    from chunkstore.drill import run

    return run(seconds, echo=click.echo, is_live=is_terminal(sys.stdout))
