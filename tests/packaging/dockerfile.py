"""Reads the Dockerfile and .dockerignore, as far as this project uses what they may say."""

from __future__ import annotations

import json
import re
from fnmatch import translate
from pathlib import Path
from typing import NamedTuple

__all__ = ["ROOT", "Instruction", "context_files", "exec_form", "read", "variables"]

ROOT = Path(__file__).resolve().parents[2]


class Instruction(NamedTuple):
    """One instruction.

    Attributes:
        name: in capitals.
        text: what follows it, on one line.
        stage: how many FROM came before it, itself included.
    """

    name: str
    text: str
    stage: int


def read(path: Path = ROOT / "Dockerfile") -> list[Instruction]:
    """The instructions in their order."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found: list[Instruction] = []
    stage = 0
    for line in filter(str.strip, joined.splitlines()):
        name, _, text = line.strip().partition(" ")
        stage += name == "FROM"
        found.append(Instruction(name.upper(), text.strip(), stage))
    return found


def exec_form(text: str) -> list[str]:
    """The words of `["program", "argument"]`, which no shell takes apart.

    Raises:
        ValueError: it is the shell's form.
    """
    words = json.loads(text)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"not the exec form: {text}")
    return words


def variables(text: str) -> dict[str, str]:
    """What an ENV or a LABEL sets."""
    pairs = re.findall(r'([\w.]+)=("[^"]*"|\S+)', text)
    return {name: value.strip('"') for name, value in pairs}


def context_files(root: Path = ROOT) -> set[str]:
    """The files that `docker build` is given: those below the root that .dockerignore leaves.

    The last pattern that matches a file or a folder it is in decides.
    """
    lines = [line.strip() for line in (root / ".dockerignore").read_text().splitlines()]
    rules = [
        (_pattern(line.removeprefix("!")), line.startswith("!"))
        for line in lines
        if line and not line.startswith("#")
    ]
    found: set[str] = set()
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        parts = name.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        verdicts = [keeps for rule, keeps in rules if any(map(rule.fullmatch, above))]
        if path.is_file() and (not verdicts or verdicts[-1]):
            found.add(name)
    return found


def _pattern(text: str) -> re.Pattern[str]:
    """A pattern: `*` stops at a slash, `**/` is any folders or none."""
    folders, rest = ("(?:.*/)?", text[3:]) if text.startswith("**/") else ("", text)
    return re.compile(folders + translate(rest).replace(".*", "[^/]*"))
