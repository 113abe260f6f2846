"""Metadata that was lost, made again from what the nodes have.

muster.py     which nodes come, and to which cluster they belong
merge.py      what all of them list, a generation at a time
decide.py     what is left of an object
copies.py     the newest copy of the metadata that a node has
known.py      what a copy of the metadata still knows
build.py      the new metadata, written in the order of the generations
recovery.py   all of it over the network, in the gateway's place
"""

from __future__ import annotations

__all__: list[str] = []
