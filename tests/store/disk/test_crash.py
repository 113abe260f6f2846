"""The power goes at any moment: what was acknowledged is there, the rest is whole or absent."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from chunkstore.store.disk.engine import Engine
from tests.store.disk.load import Load, content_of, open_engine
from tests.store.disk.trace import crash

STATES = int(os.environ.get("CRASH_STATES", "60"))
"""For each of the runs."""
RUNS = 4


def contents(engine: Engine) -> dict[str, bytes | None]:
    """All there is."""
    return {key: content_of(engine, key) for key in engine.ledger.objects}


@pytest.mark.parametrize("seed", range(RUNS))
def test_any_crash_state_starts_with_all_that_was_acknowledged(seed: int, tmp_path: Path) -> None:
    load = Load(tmp_path / "data", seed)
    load.run(400)
    trace, chance = load.files.trace, random.Random(seed)
    format_file = (tmp_path / "data" / "chunkstore.json").read_bytes()
    for number in range(STATES):
        upto = chance.randint(0, len(trace))
        folder = tmp_path / f"state-{number}"
        (folder / "volumes").mkdir(parents=True)
        (folder / "chunkstore.json").write_bytes(format_file)
        crash(trace[:upto], folder / "volumes", chance)
        older = [path for when, path in load.indexes if when <= upto]
        if older and chance.random() < 0.7:
            shutil.copy(chance.choice(older), folder / "index.sqlite")
        data, engine = open_engine(folder)
        found = contents(engine)
        for key, may in load.allowed(upto).items():
            assert found.pop(key, None) in may, (number, upto, key)
        assert not found
        assert not engine.report.damages
        first = contents(engine)
        if chance.random() < 0.5:
            engine.close()
        data.close()
        data, engine = open_engine(folder)
        assert contents(engine) == first
        engine.close()
        data.close()
        shutil.rmtree(folder)
    load.close()
