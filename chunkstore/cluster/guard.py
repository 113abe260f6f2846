"""What a node lets in: what its cluster has signed, and no late writes of what was taken away."""

from __future__ import annotations

from collections.abc import Callable

from chunkstore.cluster.names import parse_part
from chunkstore.cluster.sign import MAX_AGE_S, Signer
from chunkstore.server import Exchange, Handler
from chunkstore.wire import field_block

__all__ = ["COLLECTED_COUNT", "COLLECTED_S", "NodeGuard"]

COLLECTED_COUNT = 16_384
"""Generations that are remembered; 2 MB of them, the oldest goes first."""
COLLECTED_S = 2 * MAX_AGE_S
"""A date may be from a clock that is MAX_AGE_S ahead, and good for so long."""
_CHALLENGE = field_block([("WWW-Authenticate", "Chunkstore-1")])
_WRITES = ("PUT", "POST")


class NodeGuard:
    """Puts the handlers of an origin behind the cluster's signature.

    A generation of which a part was deleted here, or would have been, is remembered, and writes of
    it are refused: one that was on its way when the gateway gave up would leave an orphan. It is
    remembered for as long as such a write may have a date that is good. What is written later is
    meant: repair may need the node for that object again. This is memory alone, and bounded: what
    was forgotten costs an orphan, which the next look at what the node has finds. That it never
    becomes part of an object is for the metadata, whose commit asks whether the upload stands. A
    DELETE with If-Match takes away what it names and nothing else: the object lives on.

    Args:
        signer: judges.
        wall_s: Unix time.
    """

    def __init__(self, signer: Signer, wall_s: Callable[[], float]) -> None:
        self._signer = signer
        self._wall_s = wall_s
        self._collected: dict[int, float] = {}

    def protect(self, method: str, handler: Handler) -> Handler:
        """What answers `method`. The refusal comes before it is said whether a name exists."""

        async def guarded(exchange: Exchange) -> None:
            request = exchange.request
            part = parse_part(request.path)
            generation = None if part is None else part.generation
            denial = self._signer.judge_request(
                request, now_s=self._wall_s(), generation=generation
            )
            if denial is not None:
                challenge = _CHALLENGE if denial.status == 401 else b""
                await exchange.refuse(denial.status, denial.detail, challenge)
            elif method in _WRITES and self._is_collected(generation):
                await exchange.refuse(410, f"generation {generation} was taken away here")
            else:
                is_for_good = method == "DELETE" and request.fields.get("if-match") is None
                if is_for_good and generation is not None:
                    self._remember(generation)
                await handler(exchange)

        return guarded

    def _remember(self, generation: int) -> None:
        self._collected.pop(generation, None)
        self._collected[generation] = self._wall_s()
        if len(self._collected) > COLLECTED_COUNT:
            del self._collected[next(iter(self._collected))]

    def _is_collected(self, generation: int | None) -> bool:
        if generation is None or generation not in self._collected:
            return False
        return self._wall_s() - self._collected[generation] <= COLLECTED_S
