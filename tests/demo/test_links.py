"""What is opened, by which browsers, and that none is no failure."""

from __future__ import annotations

import webbrowser

import pytest

from chunkstore.demo.links import Links, open_in_browser

LINKS = Links("http://127.0.0.1:1/a.mpd", "http://127.0.0.1:2/", "http://127.0.0.1:2/?watch=/a.mpd")


class Browser(webbrowser.BaseBrowser):
    """Notes what it is to open."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        super().__init__(name)
        self.opened: list[str] = []
        self._error = error

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
        if self._error is not None:
            raise self._error
        self.opened.append(url)
        return True


def test_both_are_opened_the_picture_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser("/usr/bin/firefox")
    monkeypatch.setattr(webbrowser, "get", lambda: browser)
    open_in_browser(LINKS)
    assert browser.opened == [LINKS.console_url, LINKS.watch_url]


def test_a_browser_of_text_would_draw_over_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser("/usr/bin/w3m")
    monkeypatch.setattr(webbrowser, "get", lambda: browser)
    open_in_browser(LINKS)
    assert browser.opened == []


def test_no_browser_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Browser:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", none)
    open_in_browser(LINKS)
    for error in (webbrowser.Error("no"), FileNotFoundError("no")):
        monkeypatch.setattr(webbrowser, "get", lambda error=error: Browser("x", error))
        open_in_browser(LINKS)
