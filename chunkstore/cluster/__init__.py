"""Objects in five equal parts, and up to two of parity, over five or more storage servers.

stripe.py      where a byte of an object lies in its parts, by arithmetic
unit.py        what a part is made of, and how it says of itself what it is
codec.py       parity, and lost units from those that are left
placement.py   which nodes get parts, and which parts move to newcomers
names.py       what a part is called on a node
sign.py        who may talk to whom: each request signed with the secret of the cluster
meta.py        the metadata: what is where, what is under way; what each change promises
sqlite.py      the metadata in SQLite
database.py    a file of SQLite that is ours alone
scribe.py      the metadata's thread, as tasks see it: changes of many in one transaction
hello.py       what a node says of itself
membership.py  which nodes there are, which are up, who is refused
reception.py   the gateway's listener for nodes: register, heartbeat, status
status.py      what an operator is shown
overview.py    the same, counted when somebody asks
inquiry.py     who asks a gateway for it
check/         a test of a deployed service
identity.py    who a node is, kept in its data dir
link.py        a node's side of the gateway's listener for nodes
guard.py       what a node lets in
node.py        a storage server: an origin over its disk, for the cluster alone
links.py       signed requests to nodes, on connections that are kept
source.py      bytes of a generation, for its readers
windows.py     what is fetched ahead for them, and the memory that takes
fetch.py       bytes from nodes in parallel, verified, in spite of those that fail
race.py        whom to ask for what, when some are late or lost
patience.py    how long to wait for a node
store.py       the gateway's store: what all names have, in what order it changes, what goes away
numbers.py     numbers for generations, each given once
upload.py      an object on its way in
parts.py       its parts: to all nodes at once, the lost made anew
lane.py        one part's way to its node
remake.py      parts of an object, made anew from those that can be read
swap.py        a part is put on another node, under an intent that the metadata has
damage.py      parts that are known not to be right where they should be
cutter.py      what comes in runs, cut into the records of its parts
fleet.py       the nodes as uploads see them: room, and what is on its way
ledger.py      what is known of all objects, packed
readers.py     who reads what here, and what is due once nobody does
collector.py   parts that nothing names any more are taken away
turns.py       changes of a name take effect in their order
listing.py     what a node has, a page at a time
heal/          what it does by itself: repair, scrub, moves to newcomers
recover/       metadata that was lost, made again from what the nodes have
"""

from __future__ import annotations

__all__: list[str] = []
