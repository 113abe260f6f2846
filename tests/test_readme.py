"""What README and docs/ say about settings and commands is what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chunkstore.cli import cli
from chunkstore.config import SETTINGS, Setting, format_value

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def limits_row(setting: Setting) -> str:
    """One setting as the README shows it."""
    default = setting.default
    is_list = setting.kind == "listen"
    shown = " ".join(default) or "none" if is_list else format_value(setting, default)
    flag = f"`{setting.flag}`" if setting.is_flag else ""
    return f"| `{setting.key}` | `{shown}` | {setting.reason} | {flag} |"


def test_the_limits_table_is_that_of_the_settings() -> None:
    rows = [limits_row(setting) for setting in SETTINGS if not setting.is_rows]
    table = "\n".join(
        ["| setting | default | what it is for | flag |", "| --- | --- | --- | --- |", *rows]
    )
    shown = re.search(r"<!-- limits: .*? -->\n(.*?)<!-- /limits -->", README, re.DOTALL)
    assert shown is not None
    assert shown[1].strip() == table, table


def test_every_command_in_the_readme_exists() -> None:
    named = set(re.findall(r"chunkstore (\w+)(?= --|`| &)", README))
    assert named
    assert named <= set(cli.commands)


@pytest.mark.parametrize(
    "name", ["behind-varnish.toml", "varnish.vcl", "varnish.service.conf", "nginx.conf"]
)
def test_settings_of_proxies_are_shown_as_they_are_tested(name: str) -> None:
    shown = (ROOT / "docs" / "behind-a-proxy.md").read_text(encoding="utf-8")
    text = (ROOT / "packaging" / name).read_text(encoding="utf-8")
    assert re.search(rf"^```\w+\n{re.escape(text)}```$", shown, re.MULTILINE)
