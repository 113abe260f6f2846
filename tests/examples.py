"""How many examples a property gets that needs another number than the profiles in conftest.py."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

__all__ = ["examples"]

SAVES = 4
"""So many runs on a developer's machine try as much as one where `CI` is set; each draws anew."""
FEWEST = 3


def examples(count: int, **others: Any) -> settings:  # noqa: ANN401 - as `settings` takes them
    """All where `CI` is set; elsewhere a share of them, so that tests can be run on every save."""
    shown = count if os.environ.get("CI") else max(FEWEST, count // SAVES)
    return settings(max_examples=shown, **others)
