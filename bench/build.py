"""Compiles the C programs on first use, into a per-user cache keyed by what they are made of."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

__all__ = ["BenchError", "NoCompilerError", "build", "cache_folder"]

_SOURCE_FOLDER = Path(__file__).parent
_FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra")


class BenchError(Exception):
    """A benchmark can't run or its run is of no use; the message is one line for the user."""


class NoCompilerError(BenchError):
    """A C program was needed that isn't in the cache, and no compiler was found."""


def build(name: str) -> Path:
    """The path of the program made of bench/`name`.c, compiled if the cache has none.

    The key is a hash of every C source here, the flags and the compiler's name: an edit is seen,
    an unchanged tree compiles once.

    Raises:
        NoCompilerError: it has to be compiled and there is nothing to do it with.
        BenchError: the compiler refused the source.
    """
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    folder = cache_folder() / _sources_digest()
    program = folder / name
    if program.exists():
        return program
    if compiler is None or shutil.which(compiler) is None:
        raise NoCompilerError(
            f"no C compiler found (looked for $CC, cc, gcc, clang) to build {name}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f"{name}.", delete=False) as half:
        half_path = Path(half.name)
    try:
        source = _SOURCE_FOLDER / f"{name}.c"
        command = [compiler, *_FLAGS, "-o", str(half_path), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = (line for line in done.stderr.splitlines() if "error" in line)
            raise BenchError(
                f"{compiler} could not build {source.name}: {next(lines, 'no reason')}"
            )
        half_path.chmod(0o755)
        half_path.replace(program)  # whole or absent, also with two runs at once
    finally:
        half_path.unlink(missing_ok=True)
    return program


def cache_folder() -> Path:
    """Where what was built or installed is kept for the next run."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "chunkstore-bench"


def _sources_digest() -> str:
    digest = hashlib.sha256(" ".join(_FLAGS).encode())
    for path in sorted((*_SOURCE_FOLDER.glob("*.c"), *_SOURCE_FOLDER.glob("*.h"))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
