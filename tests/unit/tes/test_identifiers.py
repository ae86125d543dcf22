"""Task ids: legal everywhere, unique, in the order of their making."""

import re
import time

from tesp.tes.identifiers import new_task_id


def test_an_id_has_26_characters_that_no_client_or_url_minds() -> None:
    for _ in range(1000):
        assert re.fullmatch(r"[0-9a-hjkmnp-tv-z]{26}", new_task_id())


def test_no_id_comes_twice() -> None:
    assert len({new_task_id() for _ in range(10_000)}) == 10_000


def test_ids_of_later_milliseconds_sort_behind() -> None:
    made = []
    for _ in range(5):
        made.append(new_task_id())
        now = time.time_ns() // 1_000_000
        while time.time_ns() // 1_000_000 <= now:
            pass

    assert made == sorted(made)


def test_the_first_ten_characters_are_the_time_of_making() -> None:
    before = time.time_ns() // 1_000_000
    task_id = new_task_id()
    after = time.time_ns() // 1_000_000

    made = 0
    for sign in task_id[:10]:
        made = made * 32 + "0123456789abcdefghjkmnpqrstvwxyz".index(sign)
    assert before <= made <= after
