"""docs/settings.md against the program: each setting with its true facts, and no other."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields

import pytest

from chunkstore.config import SETTINGS, Setting, format_value, resolve
from chunkstore.errors import SettingsError
from chunkstore.policy import BUILT_IN_ROWS, ROW_KEYS, Policy, PolicyRow, parse_row
from chunkstore.units import format_duration
from tests.docs.pages import DOCS, PAGES, table

PAGE = DOCS / "settings.md"
KINDS = {
    "listen": "addresses",
    "switch": "switch",
    "size": "size",
    "count": "number",
    "duration": "time",
    "choice": "word",
    "path": "file",
    "url": "URL",
}
LISTENERS_MAX = 64


def default_of(setting: Setting) -> str:
    """The default as the page shows it."""
    if setting.kind == "listen":
        return " ".join(setting.default) or "none"
    return format_value(setting, setting.default)


def bounds_of(setting: Setting) -> str:
    """The bounds as the page shows them."""
    if setting.kind == "listen":
        return f"{setting.minimum:g} to {LISTENERS_MAX}"
    if setting.choices:
        return ", ".join(setting.choices)
    if not setting.maximum:
        return "–"
    return " to ".join(format_value(setting, bound) for bound in (setting.minimum, setting.maximum))


def test_each_setting_with_its_facts_and_no_other() -> None:
    shown = {row[0]: row[1:5] for row in table(PAGE, "setting")}
    true = {
        f"`{setting.key}`": [
            f"`{setting.variable}`" + (f", `{setting.flag}`" if setting.is_flag else ""),
            KINDS[setting.kind],
            f"`{default_of(setting)}`",
            bounds_of(setting),
        ]
        for setting in SETTINGS
        if not setting.is_rows
    }
    assert shown == true


def test_each_is_told_what_it_does() -> None:
    for row in table(PAGE, "setting"):
        assert len(row) == 6, row
        assert len(row[5]) > 20, row


def test_the_number_of_listeners_is_what_it_says() -> None:
    many = [f"127.0.0.1:{8000 + number}" for number in range(LISTENERS_MAX + 1)]
    resolve({"listen": tuple(many[:-1])}, {}, None)
    with pytest.raises(SettingsError, match=f"to {LISTENERS_MAX} addresses"):
        resolve({"listen": tuple(many)}, {}, None)


def policy_default(key: str) -> str:
    """What a key of a policy is where no row says it."""
    [default] = [item.default for item in fields(Policy) if item.name == ROW_KEYS[key][0]]
    if default is None:
        return f"the setting `{key}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{format_duration(default) if isinstance(default, float) else default}`"


def test_each_key_of_a_policy_with_its_default_and_no_other() -> None:
    shown = {row[0]: row[1] for row in table(PAGE, "key of a row")}
    assert shown == {f"`{key}`": policy_default(key) for key in ROW_KEYS}


def test_the_bounds_of_policies_are_what_they_say() -> None:
    for cell, _, bounds, _ in table(PAGE, "key of a row"):
        key = cell.strip("`")
        if match := re.fullmatch(r"(\w+) to (\w+)", bounds):
            least, most = match.groups()
            for value in (least, most):
                parse_row({"match": "*", key: value}, "row")
            beyond = [most.replace("0", "1", 1)]
            beyond.append("0s" if least == "1ms" else "-1s")
            for value in beyond:
                with pytest.raises(SettingsError):
                    parse_row({"match": "*", key: value}, "row")


def test_the_built_in_policies_are_those() -> None:
    shown = []
    for match, sets in table(PAGE, "match"):
        lines = "\n".join(re.findall(r"`([^`]+)`", sets))
        shown.append(parse_row({"match": match.strip("`"), **tomllib.loads(lines)}, "row"))
    assert shown == [PolicyRow(row.match, dict(row.sets)) for row in BUILT_IN_ROWS]


def test_each_key_of_a_token_and_no_other() -> None:
    shown = {row[0].strip("`") for row in table(PAGE, "key of a token")}
    with pytest.raises(SettingsError) as caught:
        resolve({}, {}, "[[token]]\nnothing-near = 1")
    assert shown == set(re.findall(r"\w+", str(caught.value).partition("expected one of ")[2]))


def test_the_file_on_the_page_is_one() -> None:
    [text] = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    settings, _ = resolve({}, {}, text.replace("sha256:…", "sha256:" + "0" * 64))
    assert settings.policies
    assert settings.tokens


def test_no_page_names_a_variable_or_a_flag_of_a_setting_that_does_not_exist() -> None:
    variables = {setting.variable for setting in SETTINGS if not setting.is_rows}
    variables |= {"CHUNKSTORE_CONFIG", "CHUNKSTORE_TOKEN", "CHUNKSTORE_REQUIRE_REAL"}
    for page in PAGES:
        named = set(re.findall(r"\bCHUNKSTORE_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")))
        assert named <= variables, page
