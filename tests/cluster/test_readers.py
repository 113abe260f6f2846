"""What waits for the last reader is called once: behind it, or when its time is over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cluster.readers import GRACE_S, Readers

STEPS = st.lists(
    st.tuples(st.sampled_from(["enter", "leave", "wait", "pass"]), st.integers(0, 2)), max_size=30
)


@given(STEPS)
def test_each_is_called_once_and_never_too_early(steps: list[tuple[str, int]]) -> None:
    readers, called = Readers(), list[tuple[int, int]]()
    holds, waits, now_s = [0, 0, 0], dict[tuple[int, int], float](), 0.0
    for number, (kind, which) in enumerate(steps):
        if kind == "enter":
            readers.enter(which)
            holds[which] += 1
        elif kind == "leave" and holds[which]:
            readers.leave(which)
            holds[which] -= 1
        elif kind == "wait":
            one = which, number
            waits[one] = now_s
            readers.when_idle(which, lambda one=one: called.append(one), now_s)  # type: ignore[misc]
        elif kind == "pass":
            now_s += GRACE_S / 3 * (which + 1)
            readers.expire(now_s)
        for one in [one for one in waits if one in called]:
            assert not holds[one[0]] or now_s - waits.pop(one) >= GRACE_S
            waits.pop(one, None)
        assert all(holds[one[0]] for one in waits), "nobody reads it"
        assert all(now_s - since_s < GRACE_S for since_s in waits.values())
    assert len(called) == len(set(called))
