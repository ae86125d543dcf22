"""So many files move at once, and who does not move his makes room."""

import asyncio
import logging
import socket
from urllib.parse import urlsplit

import pytest

from tesp.tes.models import Input, Output
from tests.contract.api.filing import (
    HTTP_PATIENCE,
    LARGE,
    SMALL,
    Desk,
    Open,
    Peers,
    heard,
)
from tests.peers.gate import Gate


async def test_only_so_many_files_move_at_once(open_desk: Open, gate: Gate) -> None:
    desk = await open_desk(transfers=2)
    gate.hold("/data")
    job = await desk.fetching(f"{gate.url}/data")
    asked = [asyncio.create_task(desk.client.get(job.input(0))) for _ in range(6)]

    await asyncio.to_thread(gate.wait_for, "/data", 2)
    for _ in range(20):
        await desk.client.get(f"{desk.url}/healthz")
    arrived = gate.arrived("/data")
    gate.release("/data")

    assert arrived == 2
    assert [a.status_code for a in await asyncio.gather(*asked)] == [200] * 6


async def test_one_who_goes_away_makes_room_for_others(open_desk: Open, gate: Gate) -> None:
    desk = await open_desk(transfers=1)
    gate.hold("/stalls")
    job = await desk.fetching(f"{gate.url}/stalls", f"{gate.url}/data")
    asked = asyncio.create_task(desk.client.get(job.input(0)))
    await asyncio.to_thread(gate.wait_for, "/stalls")

    asked.cancel()
    answer = await desk.client.get(job.input(1))
    gate.release("/stalls")

    assert answer.status_code == 200


def begun(url: str, method: str, more: str = "") -> socket.socket:
    """A request on a connection that takes as little as a connection can."""
    parts = urlsplit(url)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(HTTP_PATIENCE)
    sock.connect((parts.hostname or "", parts.port or 0))
    sock.sendall(f"{method} {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())
    return sock


async def test_one_who_sends_nothing_loses_his_turn(open_desk: Open, peers: Peers) -> None:
    desk = await open_desk(transfers=1, silence=0.3)
    job = await desk.sending(f"file://{peers.root}/out")
    length = f"Content-Length: {len(LARGE)}\r\n"
    with begun(job.send(0, len(LARGE)), "PUT", length) as silent:
        silent.sendall(LARGE[:100])

        small = await desk.client.put(job.send(0, 3), content=b"abc")

    assert small.status_code == 201
    assert peers.look("file", "out") == b"abc"


async def test_one_who_takes_nothing_loses_his_turn(open_desk: Open, peers: Peers) -> None:
    desk = await open_desk(transfers=1, silence=0.3)
    job = await desk.fetching(
        peers.make("file", "data", LARGE * 4), peers.make("file", "small", SMALL)
    )
    with begun(job.input(0), "GET") as stalled:
        assert await asyncio.to_thread(stalled.recv, 1) == b"H"

        small = await desk.client.get(job.input(1))

    assert small.content == SMALL


async def test_the_log_tells_of_the_bytes_and_of_no_key(
    desk: Desk, peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    job = await desk.job(
        [Input(path="/0", url=peers.make("http", "data", LARGE))],
        [Output(path="/out/x", url=f"s3://{peers.bucket}/out")],
    )
    with caplog.at_level(logging.INFO):
        await desk.client.get(job.input(0))
        await desk.client.put(job.send(0, len(SMALL)), content=SMALL)
        # Told when its last byte has gone, which the client may see before.
        await heard(caplog, "fetched ")

    lines = [r.getMessage() for r in caplog.records if r.name.startswith("tesp.")]
    assert any(f"fetched {peers.http.url}/data: {len(LARGE)} bytes" in line for line in lines)
    assert any(f"sent s3://{peers.bucket}/out: {len(SMALL)} bytes" in line for line in lines)
    assert not any("key=" in line for line in lines)
