"""The operator's listener: what the data port must not say, because its paths are the user's.

    desk.py         who may ask, and the server that answers: an origin's, or a worker's
    admin.py        the paths of an origin
    exposition.py   /metrics: every metric by name, for Prometheus
    events.py       /events: what happens to objects, as it happens, and from where one left off
    console.py      /: a page (in page/) that shows all that, and what a player would see
    tables.py       /objects and /connections: what is there now, as JSON

It reads what the other rooms keep and changes nothing. Off unless asked for; on loopback only, and
it answers only where it is asked for by a name of this machine, since a page in a browser could
otherwise have any name lead here (DNS rebinding).
"""

from __future__ import annotations

from chunkstore.admin.admin import Admin
from chunkstore.admin.console import watch_target
from chunkstore.admin.desk import COMMON, TEXT, Desk
from chunkstore.admin.exposition import Exposition, Figures

__all__ = ["COMMON", "TEXT", "Admin", "Desk", "Exposition", "Figures", "watch_target"]
