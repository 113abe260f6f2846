"""The files below a folder, and the paths they are stored under."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from chunkstore.errors import PathError
from chunkstore.paths import encode_key, parse_key, parse_prefix

__all__ = ["Found", "path_below", "walk"]


class Found(NamedTuple):
    """Something below a folder.

    Attributes:
        path: where it is.
        name: its path from the folder on, with "/" between the parts.
        why_not: why it is no file to upload; "" if it is one.
        is_fault: it should have been one, so leaving it out is a failure.
    """

    path: Path
    name: str
    why_not: str = ""
    is_fault: bool = False


def walk(root: Path, *, hidden: bool = False) -> Iterator[Found]:
    """The files below a folder, in the order of their names; it is read as they are taken.

    A link is followed if it leads to a file below the folder; links to folders never are, so that
    nothing comes twice. Names that begin with a dot are left out.

    Args:
        hidden: take those too.
    """
    end = Path(os.path.realpath(root))
    levels = [_level(root, "", end, hidden)]
    while levels:  # not by recursion: folders may lie deeper than Python's stack
        found = next(levels[-1], None)
        if found is None:
            levels.pop()
        elif isinstance(found, Found):
            yield found
        else:
            levels.append(_level(*found, end, hidden))


def _level(
    folder: Path, before: str, root: Path, hidden: bool
) -> Iterator[Found | tuple[Path, str]]:
    """What lies in one folder; a folder in it as its path, and what its names begin with."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield Found(folder, before, error.strerror or str(error), is_fault=True)
        return
    for entry in entries:
        path, name = Path(entry.path), before + entry.name
        if entry.name.startswith(".") and not hidden:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield path, name + "/"
        elif entry.is_symlink():
            yield Found(path, name, _why_not_follow(path, root))
        elif entry.is_file(follow_symlinks=False):
            yield Found(path, name)
        else:
            yield Found(path, name, "neither a file nor a folder")


def _why_not_follow(path: Path, root: Path) -> str:
    end = Path(os.path.realpath(path))
    if not end.is_relative_to(root):
        return "a link that leads out of the folder"
    return "" if end.is_file() else "a link that leads to no file"


def path_below(base: str, name: str) -> str:
    """The path, percent-encoded, under which a file of a folder is stored.

    Args:
        base: the encoded path of the place for the folder; a "/" is added where it lacks one.
        name: from the folder on, decoded, as the file system gives it.
    Raises:
        PathError: no object can have this name.
    """
    prefix = parse_prefix(base if base.endswith("/") else base + "/")
    try:
        path = encode_key(prefix + name)
    except UnicodeEncodeError:
        raise PathError(name, "a name must be valid UTF-8") from None
    parse_key(path)
    return path
