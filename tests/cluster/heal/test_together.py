"""Nothing that was acknowledged is lost, and nothing else stays, whatever goes on at once."""

from __future__ import annotations

import os

import pytest
from trio.testing import MockClock

from tests.cluster.heal.together import Story

SEEDS = int(os.environ.get("CHUNKSTORE_TOGETHER_SEEDS") or (2 if os.environ.get("CI") else 1))
FIRST = int(os.environ.get("CHUNKSTORE_TOGETHER_FIRST", "0"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
async def test_all_at_once(autojump_clock: MockClock, seed: int) -> None:
    async with Story.begin(seed, 7 + seed % 4) as story:
        try:
            for _ in range(2):
                for _ in range(story.random.randint(1, 2)):
                    seconds = story.random.choice([5, 40, 150])
                    await story.live(seconds, is_killed=story.random.random() < 0.6)
                await story.heal()
        except BaseException:
            print("\n".join(story.did[-60:]))
            print("\n".join(story.lines[-40:]))
            raise
