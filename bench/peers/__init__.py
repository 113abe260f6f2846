"""The peers: each a minimal, honest server at its best settings, started like ours.

    hypercorn_app.py   one small complete object, hypercorn's trio worker (requests.py)

A peer that isn't installed is reported as missing. They come with the extra `bench`.
"""

from __future__ import annotations

__all__: list[str] = []
