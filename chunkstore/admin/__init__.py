"""The operator's listener: what the data port must not say, because its paths are the user's.

    admin.py        the paths, who may ask, and the server they are asked on
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

__all__ = ["Admin", "watch_target"]
