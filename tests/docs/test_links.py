"""No page has a link that leads nowhere, and no page is one that nothing leads to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, ROOT, anchors, links

INDEX = DOCS / "README.md"


def name_of(page: Path) -> str:
    """A page's name in test ids."""
    return str(page.relative_to(ROOT))


def target_of(page: Path, link: str) -> tuple[Path, str]:
    """The file that a relative link leads to, and the heading in it."""
    path, _, anchor = link.partition("#")
    return (page.parent / path).resolve() if path else page, anchor


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"https?://", link):
            continue
        path, anchor = target_of(page, link)
        assert path.exists(), link
        assert path.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(path), link


def test_there_are_links_to_check() -> None:
    assert sum(len(links(page)) for page in PAGES) > 20


@pytest.mark.parametrize("page", sorted(set(DOCS.glob("*.md")) - {INDEX}), ids=name_of)
def test_the_index_leads_to_every_page(page: Path) -> None:
    assert page in {target_of(INDEX, link)[0] for link in links(INDEX)}


def test_the_readme_leads_to_the_index() -> None:
    readme = ROOT / "README.md"
    assert INDEX in {target_of(readme, link)[0] for link in links(readme)}
