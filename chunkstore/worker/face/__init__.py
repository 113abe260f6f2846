"""A worker as a program of its own: its chunks over HTTP.

::

    GET|HEAD  /datasets/ID/blocks/N               the chunk that has a block
    GET|HEAD  /datasets/ID/blocks/N/files/NAME    a file of it
    GET|HEAD  /chunks                             those that are wholly here, a line each
    GET|HEAD  /chunks/ID                          how it stands with one
    PUT       /chunks/ID                          have it
    DELETE    /chunks/ID                          have it no more
    GET|HEAD  /status                             how it stands with all

target.py    what a path means; pure
shown.py     chunks as JSON; pure
described.py what chunks on disk say of their files, kept in memory
blocks.py    who asks for blocks: chunks and their files
chunks.py    who asks for chunks, and says which are wanted
status.py    status and figures
face.py      the table of all that, and who may ask
worker.py    the parts, put together
office.py    the operator's listener
"""

from __future__ import annotations

from chunkstore.worker.face.worker import Worker

__all__ = ["Worker"]
