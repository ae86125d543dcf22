"""What Pulsar posts: forms, streamed to real peers."""

import asyncio
import logging
import subprocess
from pathlib import Path

import pytest
import requests

from tests.contract.api.filing import (
    KINDS,
    LARGE,
    SMALL,
    Desk,
    Peers,
    detail,
    heard,
    post_form,
    raw,
)

NAMES = ["a b", "50%/ü.txt", "q?x#y&z=1", "published/0/1/file", "a+b", "c:\\d"]


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
