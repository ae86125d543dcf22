"""What each profile of the stack must do."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from tests.compose.engine import Engine
from tests.compose.stack import MTU, PASSWORD, ROOT, Stack, curl, run_task
from tests.peers.room import wait_until

_CONTENT = "Hello World!"
_MD5 = hashlib.md5(_CONTENT.encode(), usedforsecurity=False).hexdigest()
_HOLY_FILE = "holy_file"
# The container leaves a file that nobody but its own root may read.
_PRIVATE: dict[str, Any] = {
    "inputs": [{"path": "/data/words", "content": "one two three\n"}],
    "volumes": ["/private"],
    "executors": [
        {
            "image": "busybox",
            "command": ["sh", "-c", "umask 077; cat > /private/x; sleep 1; wc -w < /private/x"],
            "stdin": "/data/words",
        }
    ],
}


def tasks_run_beside_the_service(engine: Engine, stack: Stack, transfers: Stack) -> None:
    """The default: containers through the socket, and files of HTTP, FTP and S3."""
    stack.up()
    transfers.up()
    _words_are_counted(engine, stack, "local@compose")
    _is_nobody(engine, stack.container("api"))
    _keeps_the_mtu(engine, stack)
    _files_come_and_go(engine)
    transfers.down()
    stack.down()


def tasks_run_on_a_pulsar_over_rest(engine: Engine, stack: Stack, transfers: Stack) -> None:
    """The profile `pulsar`."""
    del transfers
    stack = stack.told(TESP_ENV="docker-pulsar")
    stack.up("pulsar")
    _words_are_counted(engine, stack, "pulsar")
    _is_nobody(engine, stack.container("pulsar", "pulsar"))
    stack.down("pulsar")


def tasks_run_on_a_pulsar_over_amqp(engine: Engine, stack: Stack, transfers: Stack) -> None:
    """The profile `amqp`: no REST, so that inputs are fetched from the service."""
    del transfers
    stack = stack.told(TESP_ENV="docker-amqp")
    stack.up("amqp")
    _words_are_counted(engine, stack, "pulsar-amqp")
    _is_nobody(engine, stack.container("pulsar-amqp", "amqp"))
    stack.down("amqp")


def the_broker_is_guarded(engine: Engine, stack: Stack, transfers: Stack) -> None:
    """The profile `mqtt`: tesp tells of a task, a watcher hears it, others do not come in."""
    del transfers
    stack = stack.told(TESP_ENV="docker-mqtt")
    stack.up("mqtt")
    broker = stack.container("mosquitto", "mqtt")

    def client(program: str, *args: str) -> list[str]:
        shown = ["sh", "-c", '"$@" 2>&1; echo " $?"', "sh", program, *args]
        return engine.cli("exec", broker, *shown).split()

    def publish(*identity: str) -> list[str]:
        message = ("-t", "tesp/b", "-m", identity[1], "-q", "1", "--retain")
        return client("mosquitto_pub", *identity, *message)

    def hear(*identity: str) -> list[str]:
        return client("mosquitto_sub", *identity, "-t", "tesp/b", "-C", "1", "-W", "5")

    tesp, watcher = (("-u", name, "-P", PASSWORD) for name in ("tesp", "watcher"))
    assert publish(*tesp) == ["0"]
    assert publish("-u", "tesp", "-P", "wrong")[-1] != "0"
    assert hear("-u", "tesp", "-P", "wrong")[-1] != "0"
    # It is not told that nobody is told.
    publish(*watcher)
    assert hear(*watcher) == ["tesp", "0"]
    _words_are_counted(engine, stack, "local@compose")
    log = stack.logs("api", "mqtt")
    assert "events wait in the log" not in log, log
    stack.down("mqtt")


def a_change_starts_it_anew(engine: Engine, stack: Stack, transfers: Stack) -> None:
    """The profile `dev`: the sources of this directory, with tasks of its own."""
    del transfers
    stack.up("dev")
    wait_until(lambda: stack.logs("dev", "dev").count("tesp is ready") == 1, "its log says so")
    os.utime(ROOT / "tesp" / "__init__.py")
    wait_until(lambda: stack.logs("dev", "dev").count("tesp is ready") == 2, "started anew")
    run_task(engine, _PRIVATE, port=8081)
    assert json.loads(curl(engine, "http://127.0.0.1:8080/ga4gh/tes/v1/tasks"))["tasks"] == []
    stack.down("dev")


def with_storage(settings: str) -> str:
    """The settings with their lines about docker/dts switched on, as its README asks."""
    head, line, rest = settings.partition("# [[default.staging.s3]]\n")
    block, gap, tail = rest.partition("\n\n")
    assert line and gap
    return head + (line + block).replace("# ", "") + gap + tail


def _words_are_counted(engine: Engine, stack: Stack, backend: str) -> None:
    """A task runs there, and leaves nothing behind."""
    log = run_task(engine, _PRIVATE)["logs"][0]
    assert log["logs"][0]["stdout"] == "3\n"
    assert log["metadata"]["backend"] == backend
    assert int(log["metadata"]["executor.0.peak_memory_bytes"]) > 0
    wait_until(lambda: not _left(stack.data), f"{stack.data} is clean")


def _left(data: Path) -> list[Path]:
    works = [*data.glob("*/work/*"), *data.glob("*/staging/*")]
    # Jobs that only look after others go with the next of them.
    return [work for work in works if not work.name.startswith("tesp-control-")]


def _is_nobody(engine: Engine, container: str) -> None:
    """The service is no root and has no capability; root is only who reaps for it."""
    look = "cat /proc/[0-9]*/status | grep -E '^(PPid|Uid|CapBnd):'"
    rows = engine.cli("exec", container, "sh", "-c", look).split("PPid:")[1:]
    # Neither the first process nor what was told to look in from outside.
    service = [row.split() for row in rows if row.split()[0] == "1"]
    assert service
    for _, _, uid, *_, capabilities in service:
        assert (uid, int(capabilities, 16)) == ("1000", 0), rows


def _keeps_the_mtu(engine: Engine, stack: Stack) -> None:
    seen = engine.cli("exec", stack.container("api"), "cat", "/sys/class/net/eth0/mtu")
    assert seen == MTU


def _files_come_and_go(engine: Engine) -> None:
    """The example of docker/dts/README.md over FTP, then from S3 to HTTP."""
    given = Path(engine.socket).with_name(_HOLY_FILE)
    given.write_text(_CONTENT)
    curl(engine, "--upload-file", str(given), "ftp://127.0.0.1:2121/")
    run_task(engine, _digest("ftp://ftp:2121/holy_file", "ftp://ftp:2121/outfile-1"))
    assert curl(engine, "ftp://127.0.0.1:2121/outfile-1").split()[0] == _MD5
    curl(engine, "--request", "PUT", "http://127.0.0.1:9000/try")
    curl(engine, "--upload-file", str(given), "http://127.0.0.1:9000/try/holy_file")
    run_task(engine, _digest("s3://try/holy_file", "http://http:8000/new/outfile-2"))
    assert curl(engine, "http://127.0.0.1:8000/new/outfile-2").split()[0] == _MD5


def _digest(source: str, target: str) -> dict[str, Any]:
    return {
        "inputs": [{"url": source, "path": "/data/file1", "type": "FILE"}],
        "outputs": [{"path": "/data/outfile", "url": target, "type": "FILE"}],
        "executors": [
            {
                "image": "busybox",
                "command": ["md5sum"],
                "stdin": "/data/file1",
                "stdout": "/data/outfile",
            }
        ],
    }
