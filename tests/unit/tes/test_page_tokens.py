"""Page tokens: opaque, and good for the list that they were given for."""

import pytest

from tesp.errors import InvalidTask
from tesp.tes.page_tokens import binding, seal, unseal
from tesp.tes.states import State

FILTERS = binding({State.RUNNING, State.QUEUED}, "name", (("a", "b"), ("c", None)))
OTHERS = (
    binding(None, "name", (("a", "b"), ("c", None))),
    binding({State.RUNNING}, "name", (("a", "b"), ("c", None))),
    binding({State.RUNNING, State.QUEUED}, None, (("a", "b"), ("c", None))),
    binding({State.RUNNING, State.QUEUED}, "name", (("a", "b"),)),
    binding({State.RUNNING, State.QUEUED}, "name", (("a", "b"), ("c", "None"))),
)


@pytest.mark.parametrize("position", ["0", "0123abc", "a/b?c=d&é\0", "x" * 500])
def test_a_token_gives_back_its_position(position: str) -> None:
    assert unseal(seal(position, FILTERS), FILTERS) == position


def test_a_token_fits_into_a_url_as_it_is() -> None:
    token = seal("?>~é", FILTERS)
    assert all(c.isascii() and (c.isalnum() or c in "-_") for c in token)


@pytest.mark.parametrize("filters", OTHERS)
def test_a_token_is_refused_with_other_filters(filters: bytes) -> None:
    with pytest.raises(InvalidTask, match="page_token"):
        unseal(seal("0", FILTERS), filters)


def test_a_changed_token_is_refused() -> None:
    token = seal("0123abc", FILTERS)
    for place in range(len(token)):
        other = "A" if token[place] != "A" else "B"
        with pytest.raises(InvalidTask):
            unseal(token[:place] + other + token[place + 1 :], FILTERS)


@pytest.mark.parametrize("token", ["x", "====", "é", "a b", "AAAA", "A" * 5000, "\0", "0"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidTask):
        unseal(token, FILTERS)


def test_the_order_in_which_states_were_found_is_no_matter() -> None:
    assert binding([State.QUEUED, State.RUNNING], None, ()) == binding(
        [State.RUNNING, State.QUEUED], None, ()
    )
