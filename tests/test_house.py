"""The house style, as far as a machine can hold it: arrows, names, docstrings, lengths."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "chunkstore"

PURE = frozenset(
    {"auth", "errors", "units", "config", "journal", "metrics", "paths", "playlist", "policy"}
) | {"objects", "ring"}

# Room -> the rooms it may import, itself apart. Arrows point inward only.
ROOMS: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "units": frozenset({"errors"}),
    "journal": frozenset({"errors"}),
    "metrics": frozenset({"errors"}),
    "paths": frozenset({"errors"}),
    "playlist": frozenset({"errors"}),
    "policy": frozenset({"errors", "units"}),
    "auth": frozenset({"errors"}),
    "config": frozenset({"auth", "errors", "policy", "units"}),
    "ring": frozenset({"errors"}),
    "objects": PURE - {"objects"},
    "wire": frozenset({"errors"}),
    "folders": frozenset({"errors"}),
    "store": PURE | {"folders"},
    "live": PURE | {"store"},
    # Doubles for tests: nobody inside uses them.
    "testing": PURE | {"store"},
    # Of live, only the shape of what a connection offers it.
    "server": PURE | {"live", "wire"},
    "origin": PURE | {"live", "server", "store", "wire"},
    "admin": PURE | {"live", "server", "wire"},
    "cluster": PURE | {"client", "live", "origin", "server", "store", "wire"},
    # The life of a server: puts the tables of handlers together.
    "process": PURE
    | {"admin", "client", "cluster", "live", "origin", "server", "store"}
    | {"tuning", "worker"},
    "client": frozenset({"errors", "units", "wire"}),
    "transfer": frozenset({"client", "errors", "paths", "units", "wire"}),
    "tasks": frozenset({"errors"}),
    "worker": PURE
    | {"admin", "client", "folders", "live", "server", "store", "tasks", "transfer", "wire"},
    "drill": PURE | {"client", "testing", "worker"},
    "tuning": frozenset(),
    "demo": PURE | {"admin", "client", "live", "origin", "server"},
    "cli": PURE
    | {"client", "cluster", "demo", "drill", "process", "store", "transfer", "wire", "worker"}
    | {"chunkstore"},
    "chunkstore": PURE,
    "__main__": frozenset({"cli"}),
}

# Room -> what it may import from outside the standard library.
FOREIGN: dict[str, frozenset[str]] = {
    "objects": frozenset({"sortedcontainers"}),
    "store": frozenset({"google_crc32c", "sortedcontainers", "trio"}),
    "wire": frozenset({"h11"}),
    "live": frozenset({"trio"}),
    "testing": frozenset({"h11", "trio"}),
    "server": frozenset({"trio"}),
    "origin": frozenset({"trio"}),
    "admin": frozenset({"prometheus_client", "trio"}),
    "cluster": frozenset({"google_crc32c", "pyeclib", "trio"}),
    "process": frozenset({"trio"}),
    "client": frozenset({"h11", "trio"}),
    "transfer": frozenset({"trio"}),
    "tasks": frozenset({"trio"}),
    "worker": frozenset({"trio"}),
    "drill": frozenset({"rich", "trio"}),
    "demo": frozenset({"imageio_ffmpeg", "rich", "trio"}),
    "cli": frozenset({"click", "rich", "trio"}),
}

# Rooms with a pure core of their own: the modules that decide, and import nothing that waits.
PURE_CORES = {
    "cluster": frozenset({"codec", "cutter", "ledger", "meta", "names", "patience", "placement"})
    | {"race", "stripe", "turns", "unit"}
    | {"damage", "heal.planner", "heal.reconcile", "heal.tally"}
    | {"check.cases", "hello", "membership", "status"}
    | {"recover.decide", "recover.merge", "recover.muster"},
    "worker": frozenset(
        {
            "core.chunk",
            "core.core",
            "core.generation",
            "core.index",
            "core.names",
            "core.space",
            "core.states",
            "descriptor",
            "face.target",
            "strict",
        }
    ),
}

# What would bring a clock's wait, chance or a socket into the rooms that must be deterministic.
IMPURE = frozenset(
    {"asyncio", "random", "secrets", "select", "selectors", "signal", "socket", "ssl", "subprocess"}
    | {"threading"}
)

MODULE_LINES = 400
FUNCTION_LINES = 70

SOURCES = sorted(PACKAGE.rglob("*.py"))
CHECKED = [
    path for folder in ("chunkstore", "tests", "bench") for path in (ROOT / folder).rglob("*.py")
]


def name_of(path: Path) -> str:
    """A file's name in test ids."""
    return str(path.relative_to(ROOT))


def room_of(path: Path) -> str:
    """The room that a module of the package lies in; the package's own map is "chunkstore"."""
    first = path.relative_to(PACKAGE).parts[0]
    return "chunkstore" if first == "__init__.py" else first.removesuffix(".py")


@cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(tree: ast.Module) -> Iterator[str]:
    """The dotted names of what a module imports, wherever in it that happens."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            is_room = node.module == "chunkstore"
            yield from (
                f"chunkstore.{alias.name}" if is_room and alias.name in ROOMS else node.module
                for alias in node.names
            )


def defined(tree: ast.Module) -> set[str]:
    """What a module defines at its top: classes, functions, constants, aliases."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {
                item.id for t in targets for item in ast.walk(t) if isinstance(item, ast.Name)
            }
    return names


def exported(tree: ast.Module) -> list[str]:
    """The names in a module's `__all__`."""
    lists = [
        node.value
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        and re.match(r"__all__\b", ast.unparse(node))
        and node.value is not None
    ]
    assert len(lists) == 1, "a module has one __all__"
    return [str(name) for name in ast.literal_eval(lists[0])]


def imported_names(tree: ast.Module) -> set[str]:
    """The names that a module's `from ... import` lines bind at its top."""
    lines = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for line in lines for alias in line.names}


Documentable = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def undocumented(tree: ast.Module) -> Iterator[str]:
    """The public classes, functions and methods without a docstring.

    A method that overrides one of a class in the same module has that one's promise.
    """
    promised = {
        (node.name, inner.name)
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for inner in node.body
        if isinstance(inner, Documentable) and ast.get_docstring(inner)
    }
    for node in tree.body:
        if not isinstance(node, Documentable) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield node.name
        bases = [ast.unparse(base) for base in getattr(node, "bases", ())]
        for inner in node.body if isinstance(node, ast.ClassDef) else ():
            if (
                isinstance(inner, Documentable)
                and not inner.name.startswith("_")
                and not ast.get_docstring(inner)
                and not any((base, inner.name) in promised for base in bases)
            ):
                yield f"{node.name}.{inner.name}"


def test_every_room_is_in_the_table() -> None:
    found = {room_of(path) for path in SOURCES}
    assert found == set(ROOMS)


def test_arrows_have_no_cycle() -> None:
    seen: set[str] = set()
    while ready := {room for room in set(ROOMS) - seen if ROOMS[room] <= seen}:
        seen |= ready
    assert seen == set(ROOMS)


def test_the_layer_map_names_every_room() -> None:
    package_map = ast.get_docstring(parse(PACKAGE / "__init__.py")) or ""
    named = re.findall(r"^ *(\w+)(?:\.py|/) ", package_map, re.MULTILINE)
    assert sorted(named) == sorted(set(ROOMS) - {"chunkstore"})


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_inward(path: Path) -> None:
    room = room_of(path)
    for name in imported(parse(path)):
        top, _, rest = name.partition(".")
        if top == "chunkstore":
            target = rest.partition(".")[0] or "chunkstore"
            assert target in ROOMS[room] | {room}, f"{room} must not import {target}"
        elif top not in sys.stdlib_module_names:
            assert top in FOREIGN.get(room, ()), f"{room} must not import {top}"
        elif room in PURE | {"wire"}:
            assert top not in IMPURE, f"{room} is pure and must not import {top}"


@pytest.mark.parametrize(
    ("room", "module"),
    [(room, module) for room in PURE_CORES for module in sorted(PURE_CORES[room])],
)
def test_pure_cores_stay_pure(room: str, module: str) -> None:
    core = {f"chunkstore.{room}.{name}" for name in PURE_CORES[room]}
    for name in imported(parse((PACKAGE / room / module.replace(".", "/")).with_suffix(".py"))):
        top, _, rest = name.partition(".")
        assert top not in IMPURE | {"trio"}, f"{module} is pure and must not import {top}"
        if top == "chunkstore":
            assert name in core or rest.partition(".")[0] in PURE, f"{name} is not pure"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_all_is_exact(path: Path) -> None:
    tree = parse(path)
    names = exported(tree)
    assert len(names) == len(set(names))
    own = {
        node.name
        for node in tree.body
        if isinstance(node, Documentable) and not node.name.startswith("_")
    }
    assert own <= set(names), "a public class or function is missing from __all__"
    reexported = imported_names(tree) if path.name == "__init__.py" else set()
    assert set(names) <= defined(tree) | reexported, "__all__ names what isn't there"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_modules_take_only_what_others_export(path: Path) -> None:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("chunkstore"):
            folder = ROOT.joinpath(*str(node.module).split("."))
            source = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
            offered = set(exported(parse(source)))
            offered |= {part.stem for part in folder.glob("*")}
            taken = {alias.name for alias in node.names}
            assert taken <= offered, f"{node.module} doesn't export {taken - offered}"


def test_modules_say_what_they_are_for() -> None:
    assert not [name_of(path) for path in CHECKED if not ast.get_docstring(parse(path))]


def test_modules_begin_with_the_future() -> None:
    for path in CHECKED:
        future = [node for node in parse(path).body if isinstance(node, ast.ImportFrom)][:1]
        assert [node.module for node in future] == ["__future__"], name_of(path)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_public_names_have_docstrings(path: Path) -> None:
    assert not list(undocumented(parse(path)))


def test_modules_and_functions_fit() -> None:
    long = []
    for path in CHECKED:
        if len(path.read_text(encoding="utf-8").splitlines()) > MODULE_LINES:
            long.append(name_of(path))
        for node in ast.walk(parse(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                if (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES:
                    long.append(f"{name_of(path)}: {node.name}")
    assert not long


def test_no_file_names_a_path_of_a_machine() -> None:
    # Written in pieces, so that this file doesn't find itself.
    folders = "|".join(["ho" + "me", "Us" + "ers", "ro" + "ot", "wo" + "rk", "t" + "mp"])
    path_of_a_machine = re.compile(rf"(?<![\w.*/])/(?:{folders})/\w")
    texts = [path for path in ROOT.glob("*.*") if path.suffix in (".md", ".toml")]
    texts += [ROOT / "Dockerfile", *(ROOT / "docs").glob("*.md"), *(ROOT / "packaging").iterdir()]
    texts += [ROOT / ".ci" / "run", *(ROOT / "bench").rglob("*.c"), *CHECKED]
    found = [
        f"{name_of(path)}: {match[0]}"
        for path in texts
        for match in path_of_a_machine.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not found
