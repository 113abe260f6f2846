"""Takes from the pages what tests hold: commands, files, tables, links."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["DOCS", "PAGES", "ROOT", "anchors", "block", "code_spans", "commands", "links", "table"]

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "bench" / "README.md"]
    + [ROOT / "tests" / "README.md", *DOCS.glob("*.md")]
)
_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)


def block(page: Path, name: str) -> str:
    """The fenced block under `<!-- tested: NAME -->`; a page has one of a name."""
    text = page.read_text(encoding="utf-8")
    [found] = re.findall(rf"<!-- tested: {name} -->\n+```\w*\n(.*?)```", text, re.DOTALL)
    return str(found)


def commands(page: Path, name: str) -> list[str]:
    """The commands of a tested block, each on one line and without its comment."""
    joined = block(page, name).replace("\\\n", " ")
    lines = [re.sub(r"\s+#.*", "", line).strip() for line in joined.splitlines()]
    return [re.sub(r"\s+", " ", line) for line in lines if line and not line.startswith("#")]


def table(page: Path, first_cell: str) -> list[list[str]]:
    """The cells of all rows of the tables whose head begins with `first_cell`."""
    text = page.read_text(encoding="utf-8")
    rows: list[list[str]] = []
    is_wanted = False
    for line in text.splitlines():
        if not line.startswith("|"):
            is_wanted = False
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if is_wanted and not set(line) <= set("|- :"):
            rows.append(cells)
        is_wanted |= cells[0] == first_cell
    return rows


def _prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def code_spans(page: Path) -> list[str]:
    """Everything between backticks, without the blocks."""
    return re.findall(r"`([^`\n]+)`", _prose(page))


def links(page: Path) -> list[str]:
    """The targets of all links that aren't in code."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]+`", "", _prose(page)))


def anchors(page: Path) -> set[str]:
    """What a link can name in a page: its headings, as they are shown on the usual forges."""
    heads = re.findall(r"^#+ +(.+?) *$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
