"""What a cluster does by itself: what was lost is made anew, what rotted is found, load is evened.

planner.py    which parts are to be made anew, fewest left first
reconcile.py  what a node has, compared with what it should have
survey.py     nodes that come back, and all of them now and then, compared so; orphans are collected
scrub.py      all parts of all objects read and checked, once in so long
throttle.py   so many bytes a second, and no more
copy.py       a whole part goes from one node to another, verified on the way
mover.py      load is moved to nodes that are emptier than others
backup.py     a copy of the metadata on three nodes, made anew now and then
whole.py      an object gets the parts that it lacks
repair.py     finds what objects lack, and has it made
retries.py    what failed is tried again, later each time
tally.py      what repair has done and has to do, in numbers
"""

from __future__ import annotations

__all__: list[str] = []
