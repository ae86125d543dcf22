"""Inputs that the runner fetches and outputs that it sends, over connections that break."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tesp.runner import plan as p
from tesp.runner.plan import Fetch, Limits, Output, Plan
from tests.contract.runner.depot import Depot
from tests.contract.runner.node import Node, wait_for
from tests.peers.certificates import Certificate
from tests.peers.cutting_proxy import CuttingProxy
from tests.peers.http_server import HttpServer

MUCH = 20_000_000


@pytest.fixture
def source(tmp_path: Path) -> Iterator[HttpServer]:
    """A server with files."""
    (tmp_path / "source").mkdir()
    with HttpServer(tmp_path / "source") as server:
        yield server


@pytest.fixture
def proxy(source: HttpServer) -> Iterator[CuttingProxy]:
    """A way to that server that breaks."""
    with CuttingProxy(source.port) as proxy:
        yield proxy


@pytest.fixture
def depot() -> Iterator[Depot]:
    """Where outputs go."""
    with Depot() as depot:
        yield depot


@pytest.fixture
def secured(tmp_path: Path, environ: dict[str, str]) -> Iterator[HttpServer]:
    """A server with TLS, whose certificate a node knows where it is told of it."""
    certificate = Certificate.make(tmp_path)
    environ["SSL_CERT_FILE"] = str(certificate.path)
    (tmp_path / "secured").mkdir()
    with HttpServer(tmp_path / "secured", tls=certificate.server()) as server:
        yield server


def file(server: HttpServer, name: str, size: int = MUCH) -> bytes:
    """Put a file there; what is in it."""
    content = os.urandom(size)
    (server.directory / name).parent.mkdir(parents=True, exist_ok=True)
    (server.directory / name).write_bytes(content)
    return content


def fetching(sandbox: Node, *fetches: Fetch, script: str = "true", **fields: object) -> Plan:
    """A plan that fetches."""
    return sandbox.plan(
        sandbox.shell(script), fetches=list(fetches), directories=["roots/0"], **fields
    )


def test_files_are_brought_in_before_the_command_runs(sandbox: Node, source: HttpServer) -> None:
    contents = {
        name: file(source, name, size) for name, size in (("a", 0), ("d/b", 7), ("c", MUCH))
    }
    source.redirects["/moved"] = f"{source.url}/c"
    ws = sandbox.workspace()
    result = ws.run(
        fetching(
            sandbox,
            Fetch("roots/0/a", f"{source.url}/a?key=k"),
            Fetch("roots/0/deep/er/b", f"{source.url}/d/b"),
            Fetch("roots/0/c", f"{source.url}/moved"),
            script="cd /data; wc -c a deep/er/b c",
        )
    )
    assert result.status == p.FINISHED, result
    assert (ws.files / "a").read_bytes() == contents["a"]
    assert (ws.files / "deep/er/b").read_bytes() == contents["d/b"]
    assert (ws.files / "c").read_bytes() == contents["c"]
    assert ws.tail("0.stdout").split()[::2] == [b"0", b"7", b"%d" % MUCH, b"%d" % (MUCH + 7)]
    assert not (ws.path / "fetching").exists()


def test_what_broke_off_goes_on_where_it_was(
    sandbox: Node, source: HttpServer, proxy: CuttingProxy
) -> None:
    content = file(source, "x")
    proxy.cut_down = [MUCH // 2, MUCH // 4]
    ws = sandbox.workspace()
    result = ws.run(fetching(sandbox, Fetch("roots/0/x", f"{proxy.url}/x")))
    assert result.status == p.FINISHED, result
    assert (ws.files / "x").read_bytes() == content
    starts = [int(r.removeprefix("bytes=").rstrip("-")) for _, _, r in source.requests if r]
    assert len(starts) == 2
    assert MUCH // 2 - 1000 < starts[0] < MUCH // 2
    assert starts[1] > starts[0] + MUCH // 4 - 1000


def test_a_server_without_ranges_gives_it_anew(
    sandbox: Node, source: HttpServer, proxy: CuttingProxy
) -> None:
    source.ranges = False
    content = file(source, "x")
    proxy.cut_down = [MUCH // 2]
    ws = sandbox.workspace()
    assert ws.run(fetching(sandbox, Fetch("roots/0/x", f"{proxy.url}/x"))).status == p.FINISHED
    assert (ws.files / "x").read_bytes() == content


def test_a_file_that_changed_meanwhile_is_taken_anew(
    sandbox: Node, source: HttpServer, proxy: CuttingProxy
) -> None:
    file(source, "x")
    proxy.stall_after(MUCH // 2)
    ws = sandbox.workspace()
    ws.write(fetching(sandbox, Fetch("roots/0/x", f"{proxy.url}/x")))
    runner = ws.start()
    assert proxy.stalled.wait(60)
    (source.directory / "x").unlink()
    content = file(source, "x", MUCH + 1)
    proxy.cut()
    proxy.resume()
    assert runner.wait(60) == 0
    assert ws.result().status == p.FINISHED
    assert (ws.files / "x").read_bytes() == content


def test_a_server_that_is_busy_is_asked_again(sandbox: Node, depot: Depot) -> None:
    depot.given["/in"] = b"content"
    depot.refusals["GET", "/in"] = [(503, ""), (500, "later"), (429, "slowly")]
    ws = sandbox.workspace()
    assert ws.run(fetching(sandbox, Fetch("roots/0/in", f"{depot.host}/in"))).status == p.FINISHED
    assert (ws.files / "in").read_bytes() == b"content"


@pytest.mark.parametrize(
    ("said", "told"), [("inputs[0] is no more.", "inputs[0] is no more."), ("", "404")]
)
def test_an_input_that_is_refused_fails_the_task_in_the_servers_words(
    sandbox: Node, depot: Depot, said: str, told: str
) -> None:
    depot.refusals["GET", "/in"] = [(404, said)]
    ws = sandbox.workspace()
    fetch = Fetch("roots/0/in", f"{depot.host}/in?key=secret")
    result = ws.run(fetching(sandbox, fetch, script="touch /data/ran"))
    assert (result.status, result.reason) == (p.FAILED, p.FETCH_FAILED)
    assert told in str(result.message)
    assert "secret" not in str(result.message)
    assert depot.asked == [("GET", "/in")]
    assert not (ws.files / "ran").exists()


def test_tls_works_both_ways(sandbox: Node, depot: Depot, secured: HttpServer) -> None:
    content = file(secured, "x", 3_000_000)
    depot.targets[""] = f"{secured.url}/back"
    ws = sandbox.workspace()
    fetch = Fetch("roots/0/x", f"{secured.url}/x")
    result = ws.run(fetching(sandbox, fetch, outputs=[Output("/data/x")], send_url=depot.url))
    assert result.sent == [0], result
    assert (secured.directory / "back").read_bytes() == content


def test_a_certificate_that_nobody_knows_is_told_at_once(
    sandbox: Node, secured: HttpServer, environ: dict[str, str]
) -> None:
    del environ["SSL_CERT_FILE"]
    file(secured, "x", 10)
    fetch = Fetch("roots/0/x", f"{secured.url}/x")
    result = sandbox.workspace().run(fetching(sandbox, fetch))
    assert (result.status, result.reason) == (p.FAILED, p.FETCH_FAILED)
    assert "certificate" in str(result.message).lower()


def test_a_cancel_ends_a_fetch_at_once(
    sandbox: Node, source: HttpServer, proxy: CuttingProxy
) -> None:
    file(source, "x")
    proxy.stall_after(MUCH // 2)
    ws = sandbox.workspace()
    ws.write(fetching(sandbox, Fetch("roots/0/x", f"{proxy.url}/x"), script="touch /data/ran"))
    runner = ws.start()
    assert proxy.stalled.wait(60)
    runner.terminate()
    assert runner.wait(30) == 0
    assert (ws.result().status, ws.result().executors) == (p.CANCELED, [])
    assert not (ws.files / "ran").exists()


def test_the_time_limit_does_not_count_transfers(
    sandbox: Node, source: HttpServer, proxy: CuttingProxy, depot: Depot
) -> None:
    file(source, "x")
    proxy.stall_after(MUCH // 2)
    ws = sandbox.workspace()
    depot.gate.clear()
    ws.write(
        fetching(
            sandbox,
            Fetch("roots/0/x", f"{proxy.url}/x"),
            limits=Limits(time_seconds=4.0),
            outputs=[Output("/data/x")],
            send_url=depot.url,
        )
    )
    runner = ws.start()
    assert proxy.stalled.wait(60)
    _pass(4.5)
    proxy.resume()
    wait_for(lambda: depot.asked, "a file on its way out")
    _pass(4.5)
    depot.gate.set()
    assert runner.wait(60) == 0
    assert (ws.result().status, ws.result().sent) == (p.FINISHED, [0])


def _pass(seconds: float) -> None:
    until = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() > until, "the time")


def test_a_big_file_takes_little_memory_both_ways(
    sandbox: Node, source: HttpServer, depot: Depot
) -> None:
    size = 128 << 20
    with (source.directory / "x").open("wb") as big:
        big.truncate(size)
    depot.targets[""] = f"{source.url}/back"
    ws = sandbox.workspace()
    fetch = Fetch("roots/0/x", f"{source.url}/x")
    ws.write(fetching(sandbox, fetch, outputs=[Output("/data/x")], send_url=depot.url))
    runner = ws.start()
    peak = 0
    while runner.poll() is None:
        peak = max(peak, _peak_kib(runner.pid))
    assert ws.result().sent == [0], ws.result()
    assert (source.directory / "back").stat().st_size == size
    assert 0 < peak < 64 << 10


def _peak_kib(pid: int) -> int:
    """The most memory that a process has had."""
    words = Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()
    return int(words[0]) if words else 0


def sending(sandbox: Node, depot: Depot, script: str, *outputs: str) -> Plan:
    """A plan that sends."""
    return sandbox.plan(
        sandbox.shell(script),
        directories=["roots/0"],
        outputs=[Output(path) for path in outputs],
        send_url=depot.url,
    )


def test_what_was_found_is_sent_to_us_or_where_we_say(
    sandbox: Node, depot: Depot, source: HttpServer
) -> None:
    depot.targets["é &?#+.bin"] = f"{source.url}/bucket/key?X-Amz-Signature=abc"
    script = (
        "cd /data; printf one > one; : > empty; mkdir d; printf 22 > 'd/é &?#+.bin'; echo > d/y"
    )
    ws = sandbox.workspace()
    result = ws.run(
        sending(sandbox, depot, script, "/data/one", "/data/none", "/data/d", "/data/empty")
    )
    assert (result.status, result.sent, result.send_error) == (p.FINISHED, [0, 1, 2, 3], None)
    assert depot.taken == {("0", ""): b"one", ("2", "y"): b"\n", ("3", ""): b""}
    assert depot.sizes[("2", "é &?#+.bin")] == "2"
    assert (source.directory / "bucket" / "key").read_bytes() == b"22"


def test_a_failing_task_sends_too_and_one_that_found_nothing_has_sent_nothing(
    sandbox: Node, depot: Depot
) -> None:
    failing = sandbox.workspace().run(sending(sandbox, depot, "echo > /data/x; exit 3", "/data/x"))
    empty = sandbox.workspace().run(sending(sandbox, depot, "true", "/data/x"))
    assert (failing.sent, empty.sent) == ([0], [])
    assert depot.taken == {("0", ""): b"\n"}


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_refused_output_is_told_in_the_servers_words(
    sandbox: Node, depot: Depot, method: str
) -> None:
    """The body is far too long for the buffers between, and the server reads none of it."""
    depot.refusals[method, "b"] = [(422, "The bucket is closed.")]
    script = "mkdir /data/d; cd /data/d; echo > a; head -c 50000000 /dev/zero > b; echo > c"
    result = sandbox.workspace().run(sending(sandbox, depot, script, "/data/d"))
    assert (result.status, result.send_error) == (p.FINISHED, "The bucket is closed.")
    assert result.sent is not None
    assert 1 not in result.sent
    assert len(result.found) == 3


def test_a_place_that_is_no_longer_open_is_asked_for_again(
    sandbox: Node, depot: Depot, source: HttpServer
) -> None:
    depot.targets["x"] = f"{depot.host}/late?name=late"
    depot.refusals["PUT", "late"] = [(403, ""), (503, "")]
    depot.refusals["GET", "x"] = [(502, "")]
    script = "mkdir /data/d; echo > /data/d/x"
    ws = sandbox.workspace()
    ws.write(sending(sandbox, depot, script, "/data/d"))
    runner = ws.start()
    wait_for(lambda: depot.asked.count(("PUT", "late")) == 2, "two refusals")
    depot.targets["x"] = f"{source.url}/x"
    assert runner.wait(60) == 0
    assert ws.result().sent == [0], ws.result()
    assert (source.directory / "x").read_bytes() == b"\n"


def test_a_cancel_ends_a_send_at_once_and_tells_what_arrived(
    sandbox: Node, depot: Depot, source: HttpServer
) -> None:
    depot.targets["a"] = f"{source.url}/a"
    script = "mkdir /data/d; cd /data/d; echo > a; echo > b; echo > c"
    ws = sandbox.workspace()
    ws.write(sending(sandbox, depot, script, "/data/d"))
    depot.gate.clear()
    runner = ws.start()
    wait_for(lambda: {("PUT", "b"), ("PUT", "c")} <= set(depot.asked), "two sends that hang")
    ws.cancel()
    assert runner.wait(30) == 0
    assert (ws.result().status, ws.result().sent) == (p.CANCELED, [0])
