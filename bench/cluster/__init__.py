"""Questions about a cluster of real processes.

`transfer.py` asks what a PUT and a GET cost, beside OpenStack Swift; `faults.py` what they do with
nodes that are dead or stand still, and what uploads take of the gateway's memory; `rebuild.py` how
fast lost parts are made anew; `spread.py` how evenly nodes fill.

`party.py` holds processes that serve together; `ours.py` and `swift.py` start them; `bare.py` is
one stream of h11 into a file, the floor where Swift is not; `pages.py` has memory ready that costs
nothing extra; `processes.py` runs a gateway and nodes with disks of given sizes.
"""

from __future__ import annotations

__all__: list[str] = []
