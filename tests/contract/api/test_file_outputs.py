"""What jobs that move their own files send: over real HTTP, to real peers."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from tesp.tes.models import Output
from tests.contract.api.filing import (
    KINDS,
    LARGE,
    SMALL,
    Desk,
    Open,
    Peers,
    detail,
    heard,
    raw,
)
from tests.peers.s3_server import S3Server


@pytest.mark.parametrize("content", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("kind", KINDS)
async def test_an_output_is_put_where_it_belongs(
    desk: Desk, peers: Peers, kind: str, content: bytes
) -> None:
    job = await desk.sending(f"{peers.base(kind)}/out")

    told = await desk.client.get(job.send(0, len(content)))
    answer = await desk.client.put(job.send(0, len(content)), content=content)

    assert told.json() == {"url": None}
    assert answer.status_code == 201
    assert peers.look(kind, "out") == content


async def test_a_node_that_reaches_the_bucket_puts_there_itself(
    open_desk: Open, peers: Peers, s3_server: S3Server
) -> None:
    access = s3_server.access().model_copy(update={"nodes_reach_it": True})
    desk = await open_desk(s3=(access,))
    job = await desk.sending(f"s3://{peers.bucket}/out")

    url = (await desk.client.get(job.send(0, len(SMALL), "a b/c"))).json()["url"]
    answer = await desk.client.put(url, content=SMALL)
    huge = (await desk.client.get(job.send(0, 6 << 30, "huge"))).json()["url"]

    assert url.startswith(s3_server.url)
    assert answer.status_code == 200
    assert peers.look("s3", "out/a b/c") == SMALL
    assert huge is None


OUTPUTS: list[tuple[Mapping[str, str], str, str]] = [
    ({"path": "/out/x", "url": "/y"}, "", "y"),
    ({"path": "/out/x", "url": "/y/"}, "", "y/x"),
    ({"path": "/out/x/", "url": "/y/", "type": "DIRECTORY"}, "a/b c", "y/a/b c"),
    ({"path": "/out/x", "url": "/y"}, "a", "y/a"),
    ({"path": "/out/*.txt", "url": "/y", "path_prefix": "/out"}, "a.txt", "y/a.txt"),
    ({"path": "/out/x.{a,b}", "url": "/y/x.{a,b}"}, "x.b", "y/x.b"),
]


@pytest.mark.parametrize(("output", "name", "lands"), OUTPUTS)
async def test_a_file_goes_where_the_dispatcher_would_put_it(
    desk: Desk, peers: Peers, output: Mapping[str, str], name: str, lands: str
) -> None:
    fields: dict[str, Any] = {**output, "url": f"file://{peers.root}{output['url']}"}
    job = await desk.job(outputs=[Output(**fields)])

    answer = await desk.client.put(job.send(0, len(SMALL), name), content=SMALL)

    assert answer.status_code == 201
    assert peers.look("file", lands) == SMALL


@pytest.mark.parametrize("size", [1000, len(LARGE)], ids=["small", "large"])
@pytest.mark.parametrize("kind", KINDS)
async def test_of_an_output_that_breaks_off_nothing_is_stored(
    desk: Desk, peers: Peers, caplog: pytest.LogCaptureFixture, kind: str, size: int
) -> None:
    job = await desk.sending(f"{peers.base(kind)}/out")
    headers = {"Content-Length": str(size)}

    with caplog.at_level(logging.WARNING):
        await asyncio.to_thread(raw, job.send(0, size), "PUT", headers, LARGE[: size - 100])
        await heard(caplog, "went away before the end")

    assert peers.look(kind, "out") is None
    if kind == "s3":
        assert "Uploads" not in peers.s3.list_multipart_uploads(Bucket=peers.bucket)


@pytest.mark.parametrize("difference", [-1, 1])
@pytest.mark.parametrize("size", [1000, len(LARGE) - 1], ids=["small", "large"])
@pytest.mark.parametrize("kind", ["s3", "file"])
async def test_an_output_of_another_size_than_it_was_said_to_have_is_not_stored(
    desk: Desk, peers: Peers, kind: str, size: int, difference: int
) -> None:
    job = await desk.sending(f"{peers.base(kind)}/out")

    async def chunked() -> AsyncIterator[bytes]:
        for at in range(0, size + difference, 65536):
            yield LARGE[at : min(at + 65536, size + difference)]

    answers = [
        await desk.client.put(job.send(0, size), content=LARGE[: size + difference]),
        await desk.client.put(job.send(0, size), content=chunked()),
    ]

    assert [a.status_code for a in answers] == [424, 424]
    assert str(size) in detail(answers[1])
    assert peers.look(kind, "out") is None


BAD: list[tuple[Mapping[str, object], str]] = [
    ({"output": 3}, "outputs[3]"),
    ({"output": -1}, "output=NUMBER"),
    ({"output": "0x"}, "output=NUMBER"),
    ({"output": ""}, "output=NUMBER"),
    ({"size": ""}, "size=BYTES"),
    ({"size": "many"}, "size=BYTES"),
    ({"name": "../x"}, "'../x'"),
    ({"name": "a/../../x"}, "outputs[0]"),
    ({"name": "/etc/x"}, "outputs[0]"),
    ({"name": "a//b"}, "outputs[0]"),
    ({"name": "a/"}, "outputs[0]"),
    ({"name": "a\0b"}, "outputs[0]"),
    ({"output": 1}, "outputs[1]"),
]


async def test_a_file_that_is_none_of_the_outputs_is_refused(desk: Desk, peers: Peers) -> None:
    below = f"file://{peers.root}/below"
    job = await desk.job(
        outputs=[Output(path="/out/d", url=below), Output(path="/out/*", url=below)]
    )
    for wrong, said in BAD:
        query: dict[str, Any] = {"output": 0, "size": len(SMALL), "name": "", **wrong}

        told = await desk.client.get(job.send(**query))
        answer = await desk.client.put(job.send(**query), content=SMALL)

        assert (told.status_code, answer.status_code, wrong) == (424, 424, wrong)
        assert said in detail(told)
        assert said in detail(answer)
    assert list(peers.root.iterdir()) == []


async def test_a_storage_that_refuses_is_told_with_whether_to_try_again(
    desk: Desk, peers: Peers
) -> None:
    job = await desk.sending(f"{peers.http.url}/out")
    seen = []
    for told in (403, 503):
        peers.http.answers["/out"] = told
        answer = await desk.client.put(job.send(0, len(SMALL)), content=SMALL)
        seen.append((answer.status_code, str(told) in detail(answer)))

    assert seen == [(424, True), (502, True)]


async def test_a_small_output_follows_a_redirect_of_its_storage(desk: Desk, peers: Peers) -> None:
    peers.http.redirects["/out"] = f"{peers.http.url}/there"
    job = await desk.sending(f"{peers.http.url}/out")

    answer = await desk.client.put(job.send(0, len(SMALL)), content=SMALL)

    assert answer.status_code == 201
    assert peers.look("http", "there") == SMALL
