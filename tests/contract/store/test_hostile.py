"""Texts that mean something to a database are ordinary texts."""

import pytest

from tesp.store import IdempotencyKey, Store, TaskQuery
from tesp.tes.views import Text
from tests.contract.store.samples import a_task, all_pages, claimed, full, stored

HOSTILE = [
    "",
    " ",
    "'; DROP TABLE tasks; --",
    '"',
    "\\",
    "a\x00b",
    "\x00",
    "a\nb\r\n\t",
    "%",
    "_",
    "*",
    "[a-z]",
    "$where",
    "$",
    "a.b",
    ".",
    "{}",
    "🧬🇪🇺",
    "\U0010ffff",
    "\ud7ff",
    "\ue000",
    "é",
    "e\u0301",
    "NULL",
    "null",
    "0",
]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
async def test_a_hostile_name_comes_back_as_it_is(store: Store, text: str) -> None:
    claim = await claimed(store, name=text)

    assert claim.name == text
    assert [e.name for e in await store.history(claim.fence.task_id)] == [text, text]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
async def test_a_hostile_tag_is_found_and_no_other(store: Store, text: str) -> None:
    as_key = await stored(store, tags={text: "v"})
    as_value = await stored(store, tags={"k": text})
    await stored(store, tags={"other": "other", "k": "other"})

    assert await all_pages(store, TaskQuery(tags=((text, "v"),))) == [as_key]
    assert await all_pages(store, TaskQuery(tags=((text, None),))) == [as_key]
    assert await all_pages(store, TaskQuery(tags=(("k", text),))) == [as_value]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
async def test_a_hostile_owner_has_his_own_tasks_and_keys(store: Store, text: str) -> None:
    key = IdempotencyKey(text, text)
    await stored(store, "ann", idempotency=key)
    task_id = await stored(store, text, idempotency=key)

    assert await stored(store, text, idempotency=key) == task_id
    assert await all_pages(store, TaskQuery(owner=text)) == [task_id]
    assert task_id in [c.task_id for c in await store.queued(9) if c.owner == text]


async def test_an_id_that_was_never_made_is_just_not_there(store: Store) -> None:
    for text in HOSTILE:
        assert await store.get(text, TaskQuery().view) is None
        assert (await store.cancel(text)).value == "unknown"
        assert await store.claim(text, "local", "me", 1) is None
        assert await store.history(text) == []


async def test_a_body_of_megabytes_comes_back_whole(store: Store) -> None:
    content = "é🧬\\u0000" * 100_000
    body = Text(f'"inputs":[{{"path":"/a","content":"{content}"}}]', '"inputs":[{"path":"/a"}]')

    task_id = await stored(store, body=body)

    assert (await full(store, task_id)).body == body.full


async def test_a_thousand_tags_are_all_found(store: Store) -> None:
    tags = {f"key{i}": f"value{i}" * 10 for i in range(1000)}
    task_id = await store.create(a_task(tags=tags))
    await stored(store)

    for key in ("key0", "key500", "key999"):
        assert await all_pages(store, TaskQuery(tags=((key, tags[key]),))) == [task_id]
    assert await all_pages(store, TaskQuery(tags=tuple(tags.items())[:20])) == [task_id]
