"""How long the command line waits between two looks."""

from itertools import islice

from tesp.cli.pauses import FIRST_SECONDS, LONGEST_SECONDS, Pauses


def test_pauses_grow_from_the_first_to_the_longest() -> None:
    pauses = list(islice(Pauses(), 40))
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (FIRST_SECONDS, LONGEST_SECONDS) == (0.05, 2.0)


def test_news_make_the_next_pause_short_again() -> None:
    pauses = Pauses()
    assert pauses.first
    list(islice(pauses, 10))
    assert not pauses.first
    pauses.news()
    assert next(pauses) == FIRST_SECONDS
