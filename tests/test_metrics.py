"""The table of endings, and counters that begin at nothing."""

from __future__ import annotations

from collections import Counter

from chunkstore.metrics import Ending, Metrics


def test_every_ending_has_a_name_and_a_text_of_its_own() -> None:
    assert len({ending.metric for ending in Ending}) == len(Ending)
    assert len({ending.text for ending in Ending}) == len(Ending)
    for ending in Ending:
        assert ending.metric.replace("_", "").isalpha()
        assert ending.text


def test_the_reasons_why_a_reader_ends_are_in_the_table() -> None:
    # DESIGN.md section 4; `lagged` cannot happen while open generations are kept whole.
    reasons = {"complete", "aborted", "deleted", "client_gone", "stalled", "drain"}
    assert reasons <= {ending.metric for ending in Ending}


def test_what_is_the_clients_doing_or_whole_is_no_error() -> None:
    fine = {ending for ending in Ending if not ending.is_error}
    assert fine == {Ending.COMPLETE, Ending.CLIENT_GONE}


def test_counters_begin_at_nothing_and_are_not_shared() -> None:
    one, other = Metrics(), Metrics()
    for name, value in vars(one).items():
        assert value in (0, Counter())
        assert not isinstance(value, Counter) or value is not getattr(other, name)
