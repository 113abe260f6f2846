"""The console's files: all of the page is served, nothing else can be loaded by it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chunkstore.admin import watch_target
from chunkstore.config import SETTINGS
from tests.admin.conftest import Office

FOLDER = Path(__file__).resolve().parents[2] / "chunkstore" / "admin" / "page"
FILES = sorted(FOLDER.iterdir())
BODIES = {path.name: path.read_bytes() for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
async def test_each_file_is_served_and_bound_to_this_server(office: Office, path: Path) -> None:
    target = "/" if path.name == "index.html" else f"/console/{path.name}"
    answer = await office.get(target)
    assert (answer.status, answer.body) == (200, BODIES[path.name])
    policy = answer.fields["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.fields["content-type"].startswith("text/")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_is_loaded_from_elsewhere_and_nothing_taken_for_markup(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in text
    for name in re.findall(r'"(/console/[\w.]+)"', text):
        assert (FOLDER / name.removeprefix("/console/")).is_file()


async def test_the_watch_view_is_the_page_with_a_path(office: Office) -> None:
    target = watch_target("/live/a b.mpd")
    assert target == "/?watch=/live/a%20b.mpd"
    assert (await office.get(target)).body == BODIES["index.html"]


async def test_settings_are_shown_without_secrets(office: Office) -> None:
    shown = (await office.get("/settings")).json["settings"]
    assert set(shown) == {setting.key for setting in SETTINGS} - {"policies", "token"}
    assert shown["memory"] == "1000000"
    assert shown["admin"] == "none"
