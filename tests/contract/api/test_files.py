"""The files of jobs that move them themselves: over real HTTP, between real peers."""

import asyncio
import logging
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest
import requests

from tesp.api import FileParts
from tesp.settings import FileRoot, HostAccess, S3Access, StagingSettings
from tesp.staging.keys import Keys
from tesp.staging.storages import Storages
from tesp.store import Change, Claim, NewTask
from tesp.store.sqlite import SqliteStore
from tesp.tes.identifiers import new_task_id
from tesp.tes.models import Executor, Input, Output, TaskSubmission
from tesp.tes.states import Transition
from tesp.tes.views import body_text
from tests.contract.api.serving import api_over, served
from tests.peers.cutting_proxy import CuttingProxy
from tests.peers.ftp_server import FtpServer
from tests.peers.gate import Gate
from tests.peers.http_server import HttpServer
from tests.peers.s3_server import S3Server

SMALL = b"some bytes\r\n--\n"
# More than one part for S3, more than is held.
LARGE = os.urandom(9 << 20)
NAMES = ["a b", "50%/ü.txt", "q?x#y&z=1", "published/0/1/file", "a+b", "c:\\d"]
HTTP_PATIENCE = 60.0
KINDS = ["http", "ftp", "s3", "file"]


@dataclass
class Peers:
    """Where URLs lead, each a directory of its own but the bucket."""

    http: HttpServer
    ftp: FtpServer
    root: Path
    s3: Any
    bucket: str

    def base(self, kind: str) -> str:
        """The URL of the directory."""
        return {
            "http": self.http.url,
            "ftp": self.ftp.url,
            "s3": f"s3://{self.bucket}",
            "file": f"file://{self.root}",
        }[kind]

    def directory(self, kind: str) -> Path:
        """The directory itself, of all but S3."""
        return {"http": self.http.directory, "ftp": self.ftp.directory, "file": self.root}[kind]

    def make(self, kind: str, name: str, content: bytes) -> str:
        """Make a file; gives its URL."""
        if kind == "s3":
            self.s3.put_object(Bucket=self.bucket, Key=name, Body=content)
        else:
            file = self.directory(kind) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return f"{self.base(kind)}/{name}"

    def look(self, kind: str, name: str) -> bytes | None:
        """What is there."""
        if kind != "s3":
            file = self.directory(kind) / name
            return file.read_bytes() if file.is_file() else None
        try:
            content: bytes = self.s3.get_object(Bucket=self.bucket, Key=name)["Body"].read()
        except self.s3.exceptions.NoSuchKey:
            return None
        return content


@pytest.fixture
def peers(
    http_server: HttpServer,
    ftp_server: FtpServer,
    s3_server: S3Server,
    s3_bucket: str,
    tmp_path: Path,
) -> Peers:
    root = tmp_path / "root"
    root.mkdir()
    return Peers(http_server, ftp_server, root, s3_server.client(), s3_bucket)


@dataclass
class Job:
    """One attempt at a task, and its URLs."""

    claim: Claim
    keys: Keys
    number: int = 1

    @property
    def task_id(self) -> str:
        return self.claim.fence.task_id

    def input(self, index: int, name: str = "") -> str:
        return self.keys.input_url(self.task_id, self.number, index, name)

    def send(self, output: object, size: object, name: str = "") -> str:
        query = urlencode({"output": output, "name": name, "size": size})
        return f"{self.keys.send_url(self.task_id, self.number)}&{query}"

    def post(self, path: str) -> str:
        query = urlencode({"path": path, "file_type": "output_metadata"})
        return f"{self.keys.send_url(self.task_id, self.number)}&{query}"


@dataclass
class Desk:
    """The API, with what tests need of it."""

    url: str
    store: SqliteStore
    keys: Keys
    client: httpx.AsyncClient = field(
        default_factory=lambda: httpx.AsyncClient(timeout=HTTP_PATIENCE)
    )

    async def job(
        self, inputs: list[Input] | None = None, outputs: list[Output] | None = None
    ) -> Job:
        """A task that is being worked on."""
        task = TaskSubmission(
            executors=[Executor(image="a", command=["b"])], inputs=inputs, outputs=outputs
        )
        body = body_text(task, "2026-01-02T03:04:05.000Z")
        task_id = await self.store.create(NewTask(new_task_id(), "ann", body))
        claim = await self.store.claim(task_id, "pulsar", "me", 600)
        assert claim is not None
        return Job(claim, self.keys)

    async def fetching(self, *urls: str) -> Job:
        """A job with these inputs."""
        return await self.job([Input(path=f"/in/{n}", url=u) for n, u in enumerate(urls)])

    async def sending(self, url: str, path: str = "/out/x", **fields: Any) -> Job:
        """A job with this output."""
        return await self.job(outputs=[Output(path=path, url=url, **fields)])


Open = Callable[..., Awaitable[Desk]]


@pytest.fixture
async def open_desk(tmp_path: Path, peers: Peers, s3_server: S3Server) -> AsyncIterator[Open]:
    """Opens the API over a store; `transfers` at once, `staging` other than usual."""
    alice = HostAccess.model_validate(
        {"host": "127.0.0.1", "username": "alice", "password": "a-password"}
    )
    async with AsyncExitStack() as stack:

        async def open_(transfers: int = 4, silence: float = 20.0, **staging: Any) -> Desk:
            usual: dict[str, Any] = {
                "files": (FileRoot(path=peers.root),),
                "ftp": (alice,),
                "s3": (s3_server.access(),),
                "tries": 2,
                "timeout_seconds": 10,
            }
            storages = Storages(StagingSettings(**(usual | staging)))
            stack.push_async_callback(storages.close)
            store = await SqliteStore.open(tmp_path / "tasks.sqlite")
            stack.push_async_callback(store.close)
            secret = await store.secret("files")
            # Where it is to be reached is known when it listens; keys are the same everywhere.
            files = FileParts(store, storages, Keys(secret, ""), transfers, silence)
            url = await stack.enter_async_context(served(api_over(store, files=files)))
            desk = Desk(url, store, Keys(secret, url))
            stack.push_async_callback(desk.client.aclose)
            return desk

        yield open_


@pytest.fixture
async def desk(open_desk: Open) -> Desk:
    return await open_desk()


def detail(answer: httpx.Response) -> str:
    """The sentence of a problem document."""
    assert answer.headers["content-type"] == "application/problem+json"
    said: str = answer.json()["detail"]
    return said


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


def raw(url: str, method: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Send what no client library would; gives what is answered until the end."""
    parts = urlsplit(url)
    lines = [f"{method} {parts.path}?{parts.query} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode()
    with socket.create_connection((parts.hostname or "", parts.port or 0), HTTP_PATIENCE) as sock:
        sock.sendall(head + body)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while block := sock.recv(65536):
            answer += block
    return answer


async def heard(caplog: pytest.LogCaptureFixture, words: str) -> None:
    """Wait until the service's log says it."""
    deadline = time.monotonic() + HTTP_PATIENCE
    while words not in caplog.text:
        assert time.monotonic() < deadline, caplog.text
        await asyncio.sleep(0.01)


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


@pytest.mark.parametrize(
    ("name", "size"), [("", 0), ("", 3_000_000), ("", len(LARGE)), *((n, 1000) for n in NAMES)]
)
async def test_pulsar_posts_what_was_published(
    desk: Desk, peers: Peers, tmp_path: Path, name: str, size: int
) -> None:
    job = await desk.sending(f"file://{peers.root}/out")
    file = tmp_path / "posted"
    file.write_bytes(LARGE[:size])
    tail = f"below/{name}" if name else "file"
    url = job.post(f"/pulsar/metadata/tesp/published/0/{size}/{tail}")

    def post() -> int:
        with file.open("rb") as opened:
            return requests.post(url, files={"file": opened}, timeout=60).status_code

    assert await asyncio.to_thread(post) == 201
    assert peers.look("file", f"out/{name}" if name else "out") == LARGE[:size]
    assert await desk.store.remarks(job.task_id, 1) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_curl_posts_what_was_published(
    desk: Desk, peers: Peers, tmp_path: Path, kind: str
) -> None:
    job = await desk.sending(f"{peers.base(kind)}/out")
    file = tmp_path / "posted"
    file.write_bytes(LARGE)
    url = job.post(f"published/0/{len(LARGE)}/file")

    argv = ["curl", "-sS", "--fail", "-F", "other=field", "-F", f"file=@{file}", url]
    await asyncio.to_thread(subprocess.run, argv, check=True, timeout=60)

    assert peers.look(kind, "out") == LARGE


async def post_form(url: str, content: bytes, **fields: bytes) -> httpx.Response:
    """A multipart form of the boundary `BOUND`, as it should be."""
    parts = [(name, value) for name, value in {**fields, "file": content}.items()]
    body = b"".join(
        b'--BOUND\r\nContent-Disposition: form-data; name="%s"; filename="f"\r\n\r\n%s\r\n'
        % (name.encode(), value)
        for name, value in parts
    )
    headers = {"Content-Type": "multipart/form-data; boundary=BOUND"}
    async with httpx.AsyncClient(timeout=HTTP_PATIENCE) as client:
        return await client.post(url, content=body + b"--BOUND--\r\n", headers=headers)


PATHS = [
    ("published/1/15/file", "outputs[1]"),
    ("published/0/15/below/../x", "'../x'"),
    ("published/0/15/below/a//b", "outputs[0]"),
    ("published/0/15/below/", "no path of a published file"),
    ("published/0/15/other", "no path of a published file"),
    ("published/0/15/file/x", "no path of a published file"),
    ("published/0/file", "no path of a published file"),
    ("unpublished/0/15/file", "no path of a published file"),
    ("", "no path of a published file"),
    ("published/0/14/file", "15 bytes or more came instead of 14"),
    ("published/0/16/file", "15 bytes came instead of 16"),
]


async def test_a_post_that_fails_is_a_500_whose_sentence_the_worker_gets(
    desk: Desk, peers: Peers
) -> None:
    job = await desk.sending(f"file://{peers.root}/out")
    assert len(SMALL) == 15
    told = []
    for path, said in PATHS:
        answer = await post_form(job.post(path), SMALL)

        assert (answer.status_code, path) == (500, path)
        assert said in detail(answer)
        told.append(detail(answer))

    assert await desk.store.remarks(job.task_id, 1) == list(dict.fromkeys(told))
    assert list(peers.root.iterdir()) == []


@pytest.mark.parametrize("size", [1000, len(LARGE)], ids=["small", "large"])
async def test_of_a_post_that_breaks_off_nothing_is_stored(
    desk: Desk, peers: Peers, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    job = await desk.sending(f"s3://{peers.bucket}/out")
    head = b'--BOUND\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    end = b"\r\n--BOUND--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=BOUND"}
    url = job.post(f"published/0/{size}/file")
    whole = head + LARGE[:size] + end

    with caplog.at_level(logging.WARNING):
        headers = kind | {"Content-Length": str(len(whole))}
        await asyncio.to_thread(raw, url, "POST", headers, whole[: -len(end) - 100])
        await heard(caplog, "went away before the end")
    answer = await desk.client.post(url, content=whole[: -len(end)], headers=kind)

    assert answer.status_code == 500
    assert "The body ended before the file did." in detail(answer)
    assert len(await desk.store.remarks(job.task_id, 1)) == 2
    assert peers.look("s3", "out") is None
    assert "Uploads" not in peers.s3.list_multipart_uploads(Bucket=peers.bucket)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", SMALL),
        ("multipart/form-data", SMALL),
        ("multipart/form-data; boundary=BOUND", SMALL),
        ("multipart/form-data; boundary=BOUND", b"--BOUND--\r\n"),
        ("multipart/form-data; boundary=" + "B" * 1000, SMALL),
        (
            "multipart/form-data; boundary=BOUND",
            b'--BOUND\r\nContent-Disposition: form-data; name="x"\r\n\r\n'
            + SMALL
            + b"\r\n--BOUND--\r\n",
        ),
    ],
)
async def test_a_post_that_is_no_form_with_a_file_is_refused(
    desk: Desk, peers: Peers, content_type: str, body: bytes
) -> None:
    job = await desk.sending(f"file://{peers.root}/out")
    url = job.post(f"published/0/{len(SMALL)}/file")

    answer = await desk.client.post(url, content=body, headers={"Content-Type": content_type})

    assert answer.status_code == 500
    assert await desk.store.remarks(job.task_id, 1) == [detail(answer)]
    assert list(peers.root.iterdir()) == []


async def every(desk: Desk, job: Job) -> list[int]:
    """The answers to all that a job may ask."""
    answers = [
        await desk.client.get(job.input(0)),
        await desk.client.get(job.input(0, "x")),
        await desk.client.get(job.send(0, len(SMALL))),
        await desk.client.put(job.send(0, len(SMALL)), content=SMALL),
        await post_form(job.post("published/0/15/file"), SMALL),
    ]
    return [a.status_code for a in answers]


async def test_a_key_is_good_for_one_path_of_one_attempt(desk: Desk, peers: Peers) -> None:
    url = peers.make("file", "dir/x", SMALL)
    inputs = [Input(path="/0", url=url), Input(path="/1", url=url)]
    job, other = await desk.job(inputs), await desk.job(inputs)
    key = dict(p.split("=") for p in urlsplit(job.input(0)).query.split("&"))["key"]

    def at(path: str, key: str | None) -> str:
        return f"{desk.url}/files/{path}" + ("" if key is None else f"?key={key}")

    mine = f"{job.task_id}/1/inputs/0"
    wrong = [
        at(mine, None),
        at(mine, ""),
        at(mine, "ü"),
        at(mine, key[:-1]),
        at(mine, key.upper()),
        at(f"{job.task_id}/1/inputs/1", key),
        at(f"{job.task_id}/1/inputs/0", f"{key}&name=x"),
        at(f"{job.task_id}/2/inputs/0", key),
        at(f"{other.task_id}/1/inputs/0", key),
        at("nosuch/1/inputs/0", key),
        at(f"{job.task_id}/1/outputs", f"{key}&output=0&size=1"),
    ]

    assert (await desk.client.get(at(mine, key))).content == SMALL
    for url in wrong:
        answer = await desk.client.get(url)
        assert answer.status_code == 403, url
        assert "key" in detail(answer)


async def test_keys_of_another_store_are_good_for_nothing(desk: Desk, peers: Peers) -> None:
    job = await desk.sending(f"file://{peers.root}/out")
    job.keys = Keys(b"another" * 5, desk.url)

    assert await every(desk, job) == [403] * 5


async def _complete(desk: Desk, job: Job) -> None:
    await desk.store.write(job.claim.fence, Change(Transition.START))
    await desk.store.write(job.claim.fence, Change(Transition.COMPLETE))


async def _cancel(desk: Desk, job: Job) -> None:
    await desk.store.cancel(job.task_id)


async def _requeue(desk: Desk, job: Job) -> None:
    await desk.store.write(job.claim.fence, Change(Transition.REQUEUE))


async def _retry(desk: Desk, job: Job) -> None:
    await desk.store.write(job.claim.fence, Change(Transition.RETRY))
    await desk.store.claim(job.task_id, "pulsar", "me", 60)


@pytest.mark.parametrize("end", [_complete, _cancel, _requeue, _retry])
async def test_the_keys_of_an_attempt_end_with_it(
    desk: Desk, peers: Peers, end: Callable[[Desk, Job], Awaitable[None]]
) -> None:
    peers.make("file", "dir/x", SMALL)
    job = await desk.job(
        [Input(path="/0", url=f"file://{peers.root}/dir")],
        [Output(path="/out/x", url=f"file://{peers.root}/out")],
    )
    before = await every(desk, job)

    await end(desk, job)

    assert before == [404, 200, 200, 201, 201]
    assert await every(desk, job) == [403] * 5


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

    lines = [r.getMessage() for r in caplog.records if r.name.startswith("tesp.")]
    assert any(f"fetched {peers.http.url}/data: {len(LARGE)} bytes" in line for line in lines)
    assert any(f"sent s3://{peers.bucket}/out: {len(SMALL)} bytes" in line for line in lines)
    assert not any("key=" in line for line in lines)
