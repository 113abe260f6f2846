"""docs/troubleshooting.md names only what exists: metrics, settings, endings, fields, commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chunkstore.cli import cli
from chunkstore.config import SETTINGS
from chunkstore.metrics import Ending
from chunkstore.objects import Abort
from chunkstore.policy import ROW_KEYS
from tests.docs.pages import DOCS, ROOT, anchors, code_spans, links, table

PAGE = DOCS / "troubleshooting.md"
CHECKED = [PAGE, DOCS / "operations.md", DOCS / "quick-start.md"]

# tests/admin/test_metrics.py holds that this table is what /metrics has.
METRICS = {row[0].strip("`"): row for row in table(DOCS / "metrics.md", "metric")}
SETTING_KEYS = {setting.key for setting in SETTINGS}
ENDINGS = {ending.metric for ending in Ending}
CAUSES = {cause.metric for cause in Abort}
TOKEN_KEYS = {row[0].strip("`") for row in table(DOCS / "settings.md", "key of a token")}
# What else a bare word may be: options of GPAC, parts of GStreamer, a parameter of signed URLs.
OTHER_WORDS = {"asto", "cdur", "prefix", "localhost", "curlhttpsink", "souphttpclientsink"}


def written_in(*paths: str) -> str:
    """The source of some modules, for words that stand in no table of the program."""
    return "".join((ROOT / "chunkstore" / path).read_text(encoding="utf-8") for path in paths)


def fields() -> set[str]:
    """The members of the log's lines, and of the admin listener's rows."""
    lines = re.findall(r"log\.request\((.*?)\n {12}\)", written_in("server/server.py"), re.DOTALL)
    found = set(re.findall(r"^ {16}(\w+)=", "\n".join(lines), re.MULTILINE))
    members = written_in("server/server.py", "server/log.py", "admin/tables.py")
    pairs = re.findall(r'"(\w+)":|row\["(\w+)"\] =', members)
    return found | {one or other for one, other in pairs}


FIELDS = fields()
LABELS = {label for row in METRICS.values() for label in re.findall(r"\w+", row[2])}
LABEL_VALUES = {value for row in METRICS.values() for value in re.findall(r"`(\w+)`", row[3])}


@pytest.mark.parametrize("page", CHECKED, ids=lambda page: page.name)
def test_every_metric_that_is_named_exists(page: Path) -> None:
    for span in code_spans(page):
        if not (match := re.match(r"(chunkstore_\w+)(?:\{(\w+)=\"(\w+)\"\})?$", span)):
            assert not span.startswith("chunkstore_"), span
            continue
        name, label, value = match.groups()
        assert name in METRICS, span
        if label:
            assert f"`{label}`" in METRICS[name][2], span
            assert f"`{value}`" in METRICS[name][3], span


def test_every_bare_word_is_a_name_of_the_program() -> None:
    known = SETTING_KEYS | set(ROW_KEYS) | TOKEN_KEYS | {"match"} | ENDINGS | CAUSES | FIELDS
    known |= LABELS | LABEL_VALUES | set(cli.commands) | OTHER_WORDS
    for span in code_spans(PAGE):
        if re.fullmatch(r"[a-z][a-z0-9_]*", span) and not span.startswith("chunkstore_"):
            assert span in known, span


@pytest.mark.parametrize("page", CHECKED, ids=lambda page: page.name)
def test_every_value_of_a_setting_is_of_one(page: Path) -> None:
    for span in code_spans(page):
        if match := re.match(r"([a-z_]+) = ", span):
            assert match[1] in SETTING_KEYS | set(ROW_KEYS), span


@pytest.mark.parametrize("page", CHECKED, ids=lambda page: page.name)
def test_every_command_and_its_flags_exist(page: Path) -> None:
    blocks = re.findall(r"chunkstore [a-z][^\n`|]*", page.read_text(encoding="utf-8"))
    seen = 0
    for text in blocks:
        _, name, *words = text.split()
        if name not in cli.commands or not re.search(
            rf"[`\n| ]chunkstore {name}|^chunkstore", text
        ):
            continue
        seen += 1
        flags = {flag for one in cli.commands[name].params for flag in one.opts}
        for word in words:
            if re.fullmatch(r"--?[a-z][a-z-]*", word):
                assert word in flags, text
    assert seen


def test_the_admin_paths_that_are_named_exist() -> None:
    served = set(
        re.findall(
            r'"(/[a-z/]*)"', written_in("admin/admin.py", "admin/console.py", "admin/desk.py")
        )
    )
    named = {
        span.partition("?")[0]
        for span in code_spans(PAGE)
        if re.fullmatch(r"/(?:[a-z]+[/?]?)*", span)
    }
    assert named
    assert named <= served


def test_every_ending_and_every_cause_is_explained() -> None:
    def first_cells(head: str) -> set[str]:
        return {word for row in table(PAGE, head) for word in re.findall(r"`(\w+)`", row[0])}

    assert first_cells("`ending`") == ENDINGS - {"complete"}
    assert first_cells("`cause`") == CAUSES


def test_every_status_of_an_upload_is_explained() -> None:
    explained = {int(s) for row in table(PAGE, "status") for s in re.findall(r"\d{3}", row[0])}
    given = {cause.status for cause in Abort}
    given |= set(map(int, re.findall(r"return (\d{3}),", written_in("origin/write.py"))))
    assert given - {404} <= explained


def test_every_sentence_that_is_quoted_is_said() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "chunkstore").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # sentences that go over lines
    of_the_system = {"Address already in use", "Permission denied"}
    of_the_system |= {"Cannot assign requested address"}
    quoted = re.findall(r'(?<!=)"([^"\n{}`]+)"', PAGE.read_text(encoding="utf-8"))
    assert len(quoted) > 15
    for sentence in quoted:
        for part in filter(None, (one.strip(" :;,?") for one in sentence.split("…"))):
            words = re.sub(r"PUT$", "", part).strip()
            assert words in of_the_system or words in source, sentence


def test_the_index_at_its_top_is_complete() -> None:
    heads = anchors(PAGE) - {"troubleshooting-by-symptom"}
    listed = {link.removeprefix("#") for link in links(PAGE) if link.startswith("#")}
    assert heads <= listed
