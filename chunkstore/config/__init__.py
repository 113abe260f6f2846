"""The settings of a server.

settings.py   every setting, declared once; the frozen, checked `Settings`
worker.py     those that a worker alone takes
setting.py    one setting: what is declared of it, how its values are checked and written
resolve.py    flags over environment over file over defaults, and where each value came from
exposure.py   what other machines could do, held against what was said they may
listen.py     addresses to listen on, as people write them
"""

from __future__ import annotations

from chunkstore.config.listen import ListenAddress, parse_listen
from chunkstore.config.resolve import resolve
from chunkstore.config.setting import ENVIRONMENT_PREFIX, Setting, format_value
from chunkstore.config.settings import SETTINGS, Settings

__all__ = [
    "ENVIRONMENT_PREFIX",
    "SETTINGS",
    "ListenAddress",
    "Setting",
    "Settings",
    "format_value",
    "parse_listen",
    "resolve",
]
