"""The command line: the only room that reads argv, the environment and files, and that prints.

    options.py   flags made from the table of settings, and the settings they lead to
    serve.py     `chunkstore serve`: the live origin
    node.py      `chunkstore node`: a storage server of a cluster
    gateway.py   `chunkstore gateway`: what clients of a cluster talk to
    cluster.py   `chunkstore cluster`: a gateway and its nodes on one machine
    cluster_status.py, cluster_check.py   `chunkstore cluster status` and `check`
    recover.py   `chunkstore cluster recover`: metadata that was lost, from what the nodes have
    worker.py    `chunkstore worker`: assigned data chunks on local disk, served over HTTP
    worker_remote.py, worker_folder.py, worker_demo.py   what else can be asked of a worker
    demo.py      `chunkstore demo`: origin, encoder and players in one command
    config.py    `chunkstore config`: the settings in force, as a settings file
    fsck.py      `chunkstore fsck`: what a data dir has, and what is the matter with it
    put.py, get.py, ls.py, rm.py, tail.py   the client's commands
    remote.py    what these share: URLs, flags, how a job runs and is interrupted
    progress.py  bars, on a terminal alone
    columns.py   lines of listings and of chunks
    token.py     `chunkstore token`: a secret for a client, and its row for the settings
    sign.py      `chunkstore sign`: a URL that may be read by whoever has it, until a time

Exit codes: 0 done, 1 failed, 2 wrong settings or input, 130 interrupted. What goes wrong is one
line on stderr; only a pipe that nobody reads any more ends a command quietly, as failed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from chunkstore import __version__
from chunkstore.cli.cluster import cluster
from chunkstore.cli.columns import one_line
from chunkstore.cli.config import config
from chunkstore.cli.demo import demo
from chunkstore.cli.fsck import fsck
from chunkstore.cli.gateway import gateway
from chunkstore.cli.get import get
from chunkstore.cli.ls import ls
from chunkstore.cli.node import node
from chunkstore.cli.put import put
from chunkstore.cli.rm import rm
from chunkstore.cli.serve import serve
from chunkstore.cli.sign import sign
from chunkstore.cli.tail import tail
from chunkstore.cli.token import token
from chunkstore.cli.worker import worker
from chunkstore.errors import ChunkstoreError, DataDirError, JoinError, SettingsError

__all__ = ["cli", "main"]

_FAILED = 1
_WRONG_INPUT = 2
_INTERRUPTED = 130


class _Group(click.Group):
    """Lists the commands in the order they were added: what is run first, first."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_Group, no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="chunkstore")
def cli() -> None:
    """Storage for data that is still being written: PUT it, GET it while it grows.

    Exit codes: 0 done, 1 failed, 2 wrong settings or input, 130 interrupted.
    """


for _command in (
    serve,
    node,
    gateway,
    cluster,
    worker,
    demo,
    put,
    get,
    ls,
    rm,
    tail,
    token,
    sign,
    config,
    fsck,
):
    cli.add_command(_command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; None takes the process's own.
    Returns:
        the exit code.
    """
    _fill_standard_descriptors()
    try:
        code = cli.main(argv, prog_name="chunkstore", standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "chunkstore"
        return _fail(_WRONG_INPUT, f"{error.format_message()} See '{path} --help'.")
    except (SettingsError, DataDirError, JoinError) as error:
        return _fail(_WRONG_INPUT, str(error))
    except (ChunkstoreError, click.ClickException) as error:
        return _fail(_FAILED, str(error))
    except BrokenPipeError:
        _drop_stdout()
        return _FAILED
    except OSError as error:
        _drop_stdout()
        return _fail(_FAILED, str(error))
    except (KeyboardInterrupt, click.Abort):
        return _INTERRUPTED
    return code if isinstance(code, int) else 0


def _fill_standard_descriptors() -> None:
    """Have what is closed of 0, 1 and 2 lead nowhere.

    Else a file or connection of ours would get the number, and the log would be written there.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def _drop_stdout() -> None:
    """What stdout didn't take would be tried again, with a traceback, when the process ends."""
    if sys.stdout is not None:
        with suppress(OSError):
            sys.stdout.close()


def _fail(code: int, message: str) -> int:
    click.echo(f"chunkstore: {one_line(message)}", err=True)
    return code
