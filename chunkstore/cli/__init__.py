"""The command line: the only room that reads argv, the environment and files, and that prints.

    options.py   flags made from the table of settings, and the settings they lead to
    serve.py     `chunkstore serve`: the live origin
    demo.py      `chunkstore demo`: origin, encoder and players in one command
    config.py    `chunkstore config`: the settings in force, as a settings file
    token.py     `chunkstore token`: a secret for a client, and its row for the settings
    sign.py      `chunkstore sign`: a URL that may be read by whoever has it, until a time

Exit codes: 0 done, 1 failed, 2 wrong settings or input, 130 interrupted. What goes wrong is one
line on stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from chunkstore import __version__
from chunkstore.cli.config import config
from chunkstore.cli.demo import demo
from chunkstore.cli.serve import serve
from chunkstore.cli.sign import sign
from chunkstore.cli.token import token
from chunkstore.errors import ChunkstoreError, SettingsError

__all__ = ["cli", "main"]

_FAILED = 1
_WRONG_INPUT = 2
_INTERRUPTED = 130


@click.group(no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chunkstore")
def cli() -> None:
    """Storage for data that is still being written: PUT it, GET it while it grows."""


cli.add_command(serve)
cli.add_command(demo)
cli.add_command(config)
cli.add_command(token)
cli.add_command(sign)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; None takes the process's own.
    Returns:
        the exit code.
    """
    try:
        code = cli.main(argv, prog_name="chunkstore", standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "chunkstore"
        return _fail(_WRONG_INPUT, f"{error.format_message()} See '{path} --help'.")
    except SettingsError as error:
        return _fail(_WRONG_INPUT, str(error))
    except (ChunkstoreError, click.ClickException) as error:
        return _fail(_FAILED, str(error))
    except OSError as error:
        # What stdout didn't take would be tried again, with a traceback, when the process ends.
        with suppress(OSError):
            sys.stdout.close()
        return _fail(_FAILED, str(error))
    except (KeyboardInterrupt, click.Abort):
        return _INTERRUPTED
    return code if isinstance(code, int) else 0


def _fail(code: int, message: str) -> int:
    click.echo(f"chunkstore: {' '.join(message.split())}", err=True)
    return code
