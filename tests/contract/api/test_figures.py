"""What the API tells of what waits."""

import re
import time

import httpx

from tesp.agents.gauge import PREFIX
from tesp.bus.depths import Depth, Measured
from tesp.store.sqlite import SqliteStore
from tests.contract.api.serving import CURRENT, TASK, api_over, client_of

SAMPLE = re.compile(r'^([a-z_]+)\{((?:[a-z]+="(?:[^"\\]|\\.)*",?)*)\} (\S+)$')


def samples(text: str) -> dict[tuple[str, str], float]:
    """Every sample of Prometheus' text format; nothing else but comments may be there."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = SAMPLE.match(line)
            assert match, line
            found[match[1], match[2]] = float(match[3])
    return found


async def told(client: httpx.AsyncClient) -> dict[tuple[str, str], float]:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return samples(answer.text)


async def test_metrics_tell_of_tasks_by_state(store: SqliteStore) -> None:
    async with client_of(api_over(store)) as client:
        for _ in range(3):
            made = await client.post(f"{CURRENT}/tasks", json=TASK)
        await client.post(f"{CURRENT}/tasks/{made.json()['id']}:cancel")
        found = await told(client)
    assert found["tesp_tasks", 'state="QUEUED"'] == 2
    assert found["tesp_tasks", 'state="CANCELED"'] == 1
    assert found["tesp_tasks", 'state="RUNNING"'] == 0


async def test_metrics_tell_what_waits_for_sinks_and_since_when(store: SqliteStore) -> None:
    async with client_of(api_over(store)) as client:
        for _ in range(3):
            await client.post(f"{CURRENT}/tasks", json=TASK)
        await store.relay()
        await store.move_cursor("sink:site", 1)
        await store.move_cursor("sink:fast", 3)
        await store.move_cursor("relay of another kind", 3)
        found = await told(client)
        report = (await client.get("/queues")).json()
    assert found["tesp_sink_waiting_events", 'sink="site"'] == 2
    assert found["tesp_sink_waiting_events", 'sink="fast"'] == 0
    assert 0 < found["tesp_sink_oldest_waiting_seconds", 'sink="site"'] < 60
    assert found["tesp_sink_oldest_waiting_seconds", 'sink="fast"'] == 0
    moved = found["tesp_sink_moved_timestamp_seconds", 'sink="site"']
    assert abs(moved - time.time()) < 60
    assert [(s["name"], s["waiting"]) for s in report["sinks"]] == [("fast", 0), ("site", 2)]


async def test_metrics_tell_of_queues_as_they_were_measured(store: SqliteStore) -> None:
    odd = 'a "queue"\\'
    measured = Measured([Depth("archive", 7, 0), Depth(odd, 0, 2)])
    await store.note_reading(f"{PREFIX}site", measured.text())
    await store.note_reading(f"{PREFIX}away", Measured(error="it is out of reach").text())
    async with client_of(api_over(store)) as client:
        found = await told(client)
        report = (await client.get("/queues")).json()
    assert found["tesp_queue_messages", 'broker="site",queue="archive"'] == 7
    assert found["tesp_queue_consumers", 'broker="site",queue="archive"'] == 0
    assert found["tesp_queue_consumers", r'broker="site",queue="a \"queue\"\\"'] == 2
    assert found["tesp_broker_up", 'broker="site"'] == 1
    assert found["tesp_broker_up", 'broker="away"'] == 0
    away, site = report["brokers"]
    assert (away["error"], away["queues"]) == ("it is out of reach", [])
    assert site["queues"][0] == {"name": "archive", "messages": 7, "consumers": 0}


async def test_what_nobody_measures_any_more_is_left_out(tmp_path: object) -> None:
    clock = [time.time() - 3600]
    store = await SqliteStore.open(tmp_path / "t.db", clock=lambda: clock[0])  # type: ignore[operator]
    try:
        await store.note_reading(f"{PREFIX}old", Measured().text())
        clock[0] = time.time()
        await store.note_reading(f"{PREFIX}new", Measured().text())
        async with client_of(api_over(store)) as client:
            report = (await client.get("/queues")).json()
    finally:
        await store.close()
    assert [broker["name"] for broker in report["brokers"]] == ["new"]
