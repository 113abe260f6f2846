"""Chromium without a window, driven by Playwright: a page, what it asked for, what it was answered.

Playwright's own browsers aren't used: Debian's has the codecs, and its updates.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.build import BenchError
from bench.interrupts import hold_signals

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page, Request, Response

__all__ = ["Tab", "find_browser", "open_tab"]

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--autoplay-policy=no-user-gesture-required",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--mute-audio",
)
_SAID_MAX = 20
_ABORTED = "net::ERR_ABORTED"
_TIMEOUT_MS = 30_000.0


@dataclass
class Tab:
    """A page that was opened.

    Attributes:
        statuses: answers by the name's extension and the status, as in "m4s 200".
        failures: requests that got no answer, or a body that was cut, by extension and reason;
            without those that the page itself broke off (dash.js does so with every answer that
            it has had whole).
        said: the first errors that the page wrote to its console.
    """

    page: Page
    statuses: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)

    def ask(self, expression: str) -> Any:  # noqa: ANN401 - whatever JSON the page has
        """The value of a JavaScript expression in the page.

        Raises:
            BenchError: the page is gone, or the expression failed.
        """
        from playwright.sync_api import Error

        with hold_signals():  # one that breaks into Playwright's loop would leave it unusable
            try:
                return self.page.evaluate(expression)
            except Error as error:
                raise BenchError(f"the page failed: {error.message.splitlines()[0]}") from error

    def photograph(self, path: Path) -> None:
        """Write a PNG of what the page shows."""
        with hold_signals():
            self.page.screenshot(path=path)

    def _on_response(self, response: Response) -> None:
        self.statuses[f"{_kind(response.url)} {response.status}"] += 1

    def _on_failure(self, request: Request) -> None:
        if request.failure != _ABORTED:
            self.failures[f"{_kind(request.url)} {request.failure}"] += 1

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and len(self.said) < _SAID_MAX:
            self.said.append(message.text)


def find_browser() -> str:
    """The path of a Chromium: $CHROMIUM, or one of the usual names.

    Raises:
        BenchError: there is none.
    """
    for name in filter(None, (os.environ.get("CHROMIUM"), *_NAMES)):
        if path := shutil.which(name):
            return path
    raise BenchError(f"no Chromium found (looked for $CHROMIUM, {', '.join(_NAMES)})")


@contextlib.contextmanager
def open_tab(url: str) -> Iterator[Tab]:
    """Opens a page in a browser of its own for the length of the block.

    Raises:
        BenchError: there is no browser or no Playwright, or the page can't be opened.
    """
    path = find_browser()
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise BenchError("Playwright is missing (it comes with the extra `bench`)") from None
    with contextlib.ExitStack() as stack:
        with hold_signals():
            try:
                playwright = sync_playwright().start()
                stack.callback(_held, playwright.stop)
                browser = playwright.chromium.launch(
                    executable_path=path,
                    args=_FLAGS,
                    handle_sigint=False,
                    handle_sigterm=False,
                    chromium_sandbox=os.geteuid() != 0,
                )
                stack.callback(_held, browser.close)
                page = browser.new_page(viewport={"width": 640, "height": 440})
                tab = Tab(page)
                page.on("response", tab._on_response)
                page.on("requestfailed", tab._on_failure)
                page.on("console", tab._on_console)
                page.goto(url, timeout=_TIMEOUT_MS)
            except Error as error:
                raise BenchError(f"{path} failed: {error.message.splitlines()[0]}") from error
        yield tab


def _kind(url: str) -> str:
    """What is asked for: the extension of the name."""
    return Path(url.partition("?")[0]).suffix[1:] or "other"


def _held(end: Callable[[], None]) -> None:
    with hold_signals():
        end()
