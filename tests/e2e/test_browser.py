"""A page in a real browser follows a task, over https and WebSocket."""

from pathlib import Path

import pytest

from tests.peers import browser
from tests.peers.certificates import Certificate
from tests.peers.gate import Gate
from tests.peers.http_server import HttpServer
from tests.peers.room import Room
from tests.peers.server_fixtures import StartServer

STATES = ["QUEUED", "INITIALIZING", "RUNNING", "COMPLETE"]
PAGE = """<!doctype html><script>
const knock = path => fetch("{gate}/" + path, {{mode: "no-cors"}});
const tell = (way, data) => knock(way + "/" + JSON.parse(data).state);
const stream = new EventSource("{server}/events?name_prefix=shown");
stream.addEventListener("state", event => tell("sse", event.data));
const socket = new WebSocket("{server}/events/ws?name_prefix=shown".replace("http", "ws"));
socket.onmessage = event => tell("ws", event.data);
stream.onopen = () => knock("open/sse");
socket.onopen = () => knock("open/ws");
</script>"""


@pytest.mark.parametrize("encrypted", [False, True], ids=["http", "https"])
def test_a_page_follows_a_task_by_events_and_by_websocket(
    start_server: StartServer, gate: Gate, tmp_path: Path, encrypted: bool
) -> None:
    served = tmp_path / "pages"
    served.mkdir()
    certificate = Certificate.make(tmp_path)
    shown = {"certificate": str(certificate.path)} if encrypted else {}
    with HttpServer(served) as site, Room.temporary() as room:
        server = start_server(server={"cors_origins": [site.url], **shown})
        page = PAGE.format(gate=gate.url, server=server.url)
        (served / "page.html").write_text(page)
        browser.open_page(room, f"{site.url}/page.html", certificate.pin())
        for way in ("sse", "ws"):
            gate.wait_for(f"/open/{way}")
        task = {"name": "shown", "executors": [{"image": "i", "command": ["true"]}]}
        assert server.run(task)["state"] == "COMPLETE"
        for way in ("sse", "ws"):
            for state in STATES:
                gate.wait_for(f"/{way}/{state}")


def test_a_certificate_without_its_key_stops_the_start(
    start_server: StartServer, tmp_path: Path
) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    for directory in (mine, other):
        directory.mkdir()
        Certificate.make(directory)
    files = {"certificate": mine / "certificate.pem", "certificate_key": other / "certificate.pem"}
    with pytest.raises(AssertionError, match=r"server\.certificate .*cannot be used: .*mismatch"):
        start_server(server={name: str(file) for name, file in files.items()})
