"""The server is killed at any moment, again and again, on one data dir that nobody tends.

KILLS says how often. What it took to start is printed (`-s`), and bounded only as a hang is.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
import trio

from tests.faults.checker import SETTINGS, Checker
from tests.faults.running import serving

pytestmark = pytest.mark.real

KILLS = int(os.environ.get("KILLS", "5"))
ROUND_S = 120.0
MOST_STEPS = 800
MOMENT_S = 0.02
"""The blow comes up to so much later than the step it is for: the server is at something else."""


class Blow:
    """Comes at a step of a load.

    Args:
        steps: after so many.
    """

    def __init__(self, steps: int) -> None:
        self._steps_left = steps
        self.is_due = trio.Event()

    def step(self) -> None:
        """One more."""
        self._steps_left -= 1
        if self._steps_left == 0:
            self.is_due.set()


async def test_what_was_acknowledged_is_there_after_any_kill(tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(SETTINGS)
    checker, chance, starts_s = Checker(seed=7), Random(7), list[float]()
    for _ in range(KILLS):
        with trio.fail_after(ROUND_S):
            async with serving(tmp_path / "data", "--config", str(config)) as server:
                starts_s.append(server.start_s)
                await checker.check(server)
                blow = Blow(chance.randrange(1, MOST_STEPS))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(checker.load, server, blow.step)
                    await blow.is_due.wait()
                    await trio.sleep(chance.random() * MOMENT_S)
                    server.kill()
    async with serving(tmp_path / "data", "--config", str(config)) as server:
        await checker.check(server)
        await checker.check(server)
    assert checker.acknowledged > KILLS
    assert checker.unsettled > 0, "no blow ever hit a write under way"
    print(
        f"{KILLS} kills: {checker.acknowledged} writes acknowledged, {checker.unsettled} cut off, "
        f"{checker.names} names; starts took {max(starts_s):.2f} s at most"
    )
