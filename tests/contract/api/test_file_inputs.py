"""What jobs that move their own files fetch: over real HTTP, from real peers."""

import httpx
import pytest

from tesp.settings import HostAccess, S3Access
from tesp.tes.models import Input
from tests.contract.api.filing import KINDS, LARGE, SMALL, Desk, Open, Peers, detail
from tests.peers.cutting_proxy import CuttingProxy
from tests.peers.s3_server import S3Server


@pytest.mark.parametrize("content", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("kind", KINDS)
async def test_an_input_is_streamed_from_wherever_it_is(
    desk: Desk, peers: Peers, kind: str, content: bytes
) -> None:
    job = await desk.fetching(peers.make(kind, "data", content))

    answer = await desk.client.get(job.input(0))

    assert answer.status_code == 200
    assert answer.content == content
    assert answer.headers["content-length"] == str(len(content))


async def test_inline_content_of_any_size_is_given(desk: Desk) -> None:
    text = "é" * (2 << 20)
    job = await desk.job([Input(path="/a", content=text), Input(path="/b", content="")])

    assert (await desk.client.get(job.input(0))).content == text.encode()
    assert (await desk.client.get(job.input(1))).content == b""
    assert (await desk.client.get(job.input(0, "x"))).status_code == 404


@pytest.mark.parametrize("kind", ["ftp", "s3", "file"])
async def test_the_files_of_a_directory_are_given_by_name(
    desk: Desk, peers: Peers, kind: str
) -> None:
    names = ["plain", "deep/er/x", "a b", "50%", "größe.txt", "q?x#y"]
    for name in names:
        peers.make(kind, f"dir/{name}", name.encode())
    job = await desk.fetching(f"{peers.base(kind)}/dir")

    for name in names:
        answer = await desk.client.get(job.input(0, name))
        assert (answer.status_code, answer.content) == (200, name.encode())


async def test_a_name_that_leads_out_of_a_directory_is_refused(desk: Desk, peers: Peers) -> None:
    for kind in KINDS:
        peers.make(kind, "data", SMALL)
        job = await desk.fetching(f"{peers.base(kind)}/dir")
        for name in ("../data", "a/../../data", "/etc/hostname", "a//b", "a/", "."):
            answer = await desk.client.get(job.input(0, name))

            assert (answer.status_code, kind, name) == (424, kind, name)
            assert "inputs[0]" in detail(answer)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_fetch_goes_on_where_it_broke_off(desk: Desk, peers: Peers, kind: str) -> None:
    job = await desk.fetching(peers.make(kind, "data", LARGE))
    tag = (await desk.client.get(job.input(0))).headers.get("etag")
    assert tag is not None

    rest = await desk.client.get(job.input(0), headers={"Range": "bytes=1000-", "If-Range": tag})
    bare = await desk.client.get(job.input(0), headers={"Range": "bytes=1000-"})

    size = len(LARGE)
    assert (rest.status_code, bare.status_code) == (206, 206)
    assert rest.headers["content-range"] == f"bytes 1000-{size - 1}/{size}"
    assert (rest.headers["etag"], rest.headers["accept-ranges"]) == (tag, "bytes")
    assert rest.content == bare.content == LARGE[1000:]


async def test_of_another_version_or_beyond_the_end_all_is_given(desk: Desk, peers: Peers) -> None:
    for kind in KINDS:
        job = await desk.fetching(peers.make(kind, "data", SMALL))
        for headers in (
            {"Range": "bytes=3-", "If-Range": '"other"'},
            {"Range": "bytes=1000-"},
            {"Range": "bytes=1-2"},
            {"Range": "bytes=-2"},
            {"Range": "lines=1-"},
        ):
            answer = await desk.client.get(job.input(0), headers=headers)
            assert (answer.status_code, answer.content) == (200, SMALL), (kind, headers)


async def test_a_source_that_cannot_be_gone_on_with_is_given_whole(
    desk: Desk, peers: Peers
) -> None:
    job = await desk.fetching(peers.make("http", "data", SMALL))
    peers.http.sizes = peers.http.tags = False

    answer = await desk.client.get(job.input(0), headers={"Range": "bytes=3-"})

    assert (answer.status_code, answer.content) == (200, SMALL)
    assert "content-length" not in answer.headers
    assert "accept-ranges" not in answer.headers


async def test_a_head_tells_of_an_input_without_giving_it(desk: Desk, peers: Peers) -> None:
    job = await desk.fetching(peers.make("http", "data", LARGE))

    answer = await desk.client.head(job.input(0))

    assert answer.headers["content-length"] == str(len(LARGE))
    assert answer.content == b""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_source_that_is_missing_is_a_404_with_the_sentence(
    desk: Desk, peers: Peers, kind: str
) -> None:
    job = await desk.fetching("s3://b/other", f"{peers.base(kind)}/nosuch")

    answer = await desk.client.get(job.input(1))

    assert answer.status_code == 404
    assert detail(answer).startswith("inputs[1]: ")
    assert "nosuch" in detail(answer)


async def test_an_input_that_the_task_has_not_is_a_404(desk: Desk) -> None:
    job = await desk.fetching("s3://b/x")

    assert (await desk.client.get(job.input(1))).status_code == 404


@pytest.mark.parametrize(("told", "status"), [(401, 424), (400, 424), (503, 502)])
async def test_what_a_source_says_is_told_with_whether_to_try_again(
    desk: Desk, peers: Peers, told: int, status: int
) -> None:
    job = await desk.fetching(peers.make("http", "data", SMALL))
    peers.http.answers["/data"] = told

    answer = await desk.client.get(job.input(0))

    assert answer.status_code == status
    assert str(told) in detail(answer)


async def test_a_source_that_breaks_is_gone_on_with(desk: Desk, peers: Peers) -> None:
    peers.make("http", "data", LARGE)
    with CuttingProxy(peers.http.port) as proxy:
        proxy.cut_down = [5_000_000, 5_000_000]
        job = await desk.fetching(f"{proxy.url}/data")

        answer = await desk.client.get(job.input(0))

    assert answer.content == LARGE


async def test_a_source_that_breaks_for_good_breaks_the_answer(desk: Desk, peers: Peers) -> None:
    peers.make("http", "data", LARGE)
    peers.http.tags = False
    with CuttingProxy(peers.http.port) as proxy:
        proxy.cut_down = [5_000_000]
        job = await desk.fetching(f"{proxy.url}/data")

        with pytest.raises(httpx.RemoteProtocolError):
            await desk.client.get(job.input(0))


async def test_credentials_for_a_source_do_not_come_to_the_node(
    open_desk: Open, peers: Peers
) -> None:
    access = {"host": "127.0.0.1", "username": "bob", "password": "b-password"}
    desk = await open_desk(http=(HostAccess.model_validate(access),))
    peers.http.username, peers.http.password = "bob", "b-password"
    url = peers.make("http", "data", SMALL).replace("http://", "http://bob:b-password@")
    peers.http.redirects["/moved"] = f"{peers.http.url}/data"
    job = await desk.fetching(url, f"{peers.http.url}/moved", f"{peers.http.url}/nosuch")

    answers = [await desk.client.get(job.input(n)) for n in range(3)]

    assert [a.status_code for a in answers] == [200, 200, 404]
    assert "location" not in answers[1].headers
    assert all("b-password" not in f"{a.headers}{a.text}" for a in answers)


@pytest.mark.parametrize("name", ["", "ü b/50%"])
async def test_a_node_that_reaches_the_bucket_is_sent_there(
    open_desk: Open, peers: Peers, s3_server: S3Server, name: str
) -> None:
    access = s3_server.access().model_copy(update={"nodes_reach_it": True})
    desk = await open_desk(s3=(access,))
    peers.make("s3", f"data/{name}" if name else "data", SMALL)
    job = await desk.fetching(f"s3://{peers.bucket}/data")

    answer = await desk.client.get(job.input(0, name))
    followed = await desk.client.get(job.input(0, name), follow_redirects=True)

    assert answer.status_code == 307
    assert answer.headers["location"].startswith(s3_server.url)
    assert "a-secret" not in answer.headers["location"]
    assert "X-Amz-Signature=" in answer.headers["location"]
    assert followed.content == SMALL


async def test_a_bucket_without_credentials_is_streamed(
    open_desk: Open, peers: Peers, s3_server: S3Server
) -> None:
    access = S3Access(endpoint=s3_server.url, nodes_reach_it=True)
    desk = await open_desk(s3=(access,))
    job = await desk.fetching(f"s3://{peers.bucket}/data")
    peers.s3.put_object(Bucket=peers.bucket, Key="data", Body=SMALL, ACL="public-read")

    assert (await desk.client.get(job.input(0))).content == SMALL
