"""A tab of a real browser, and what tests do in it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.build import BenchError
from bench.studio.browser import find_browser

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["WAIT_MS", "figures", "open_page", "save", "until"]

WAIT_MS = 20_000
ARTEFACTS = os.environ.get("TEST_ARTEFACTS")
"""Folder for screenshots; a temporary one if it isn't said."""
_FIGURES = "import('/console/watch.js').then((it) => it.figures())"


@contextmanager
def open_page() -> Iterator[Page]:
    """A tab, in which no script may have failed at the end."""
    from playwright.sync_api import expect, sync_playwright

    try:
        browser_path = find_browser()
    except BenchError as error:
        pytest.skip(str(error))
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = playwright.chromium.launch(executable_path=browser_path, args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 1600})
        page.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        failures: list[str] = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        yield page
        browser.close()
    assert failures == []


def until(page: Page, expression: str) -> None:
    """Wait until something holds in the page; its own policy forbids that a text is evaluated."""
    deadline_s = time.monotonic() + WAIT_MS / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < deadline_s, expression
        page.wait_for_timeout(50)


def figures(page: Page, frames: int) -> dict[str, Any]:
    """What the watch view has measured, once it was of so many frames."""
    deadline_s = time.monotonic() + WAIT_MS / 1000
    while True:
        found: dict[str, Any] | None = page.evaluate(_FIGURES)
        if found is not None and found["frames"] >= frames:
            return found
        assert time.monotonic() < deadline_s, found
        page.wait_for_timeout(200)


def save(page: Page, folder: Path, name: str) -> None:
    """Keep a screenshot."""
    path = Path(ARTEFACTS or folder) / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    assert path.stat().st_size > 10_000
