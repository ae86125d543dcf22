"""Services of the bus that a reboot starts again: what is written starts by itself."""

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers.bus_programs import bus
from tests.peers.mosquitto import PASSWORD, USER, MosquittoServer
from tests.peers.room import wait_until

# cron's own program would change the crontab of whoever runs the tests.
_CRONTAB = """\
#!/bin/sh
case "$1" in
-l) test -e "$HOME/crontab" || { echo "no crontab for $USER" >&2; exit 1; }; cat "$HOME/crontab" ;;
-) cat >"$HOME/crontab.new"; mv "$HOME/crontab.new" "$HOME/crontab" ;;
esac
"""


@contextmanager
def booted(command: str, home: Path) -> Iterator[None]:
    """What cron and systemd do after a boot: a command in an environment with next to nothing."""
    environ = {"HOME": str(home), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
    argv = ["/bin/sh", "-c", f"exec {command}"]
    process = subprocess.Popen(argv, env=environ, cwd="/", stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_a_unit_starts_the_same_command_with_the_same_path_and_password(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    home = tmp_path / "at home 50% $HOME"
    guarded = mosquitto.guarded_url.replace("//", f"//{USER}@")
    words = ["beacon", "--host", guarded, "--mqtt-env", prefix, "--every", "0.2"]
    done = bus(home, "install-service", "--", *words, TESP_BUS_PASSWORD=PASSWORD)
    assert done.returncode == 0, done.stderr
    unit = home / ".config" / "systemd" / "user" / "tesp-beacon.service"
    assert (unit.parent / "default.target.wants" / unit.name).resolve() == unit.resolve()
    lines = dict(line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line)
    # As systemd reads it.
    shell, start = shlex.split(lines["ExecStart"].replace("%%", "%").replace("$$", "$"))
    assert shell == "/bin/sh"
    assert (lines["KillMode"], lines["Restart"]) == ("mixed", "always")
    assert int(lines["TimeoutStopSec"]) >= 60
    assert PASSWORD not in unit.read_text() + done.stdout
    assert Path(start).stat().st_mode & 0o777 == 0o700
    told = ("systemctl --user disable --now tesp-beacon.service", "loginctl enable-linger")
    assert all(command in done.stdout for command in told)
    with (
        mosquitto.listening(f"{prefix}/test/beacon/status", 1) as there,
        booted(shlex.quote(start), home),
    ):
        assert '"status":"finished"' in there.lines()[0]


def test_an_agent_is_a_service_too(mosquitto: MosquittoServer, tmp_path: Path, prefix: str) -> None:
    place = ["--host", mosquitto.url, "--mqtt-env", prefix]
    words = ["agent", "metrics", "--who", "node", *place, "--data", str(tmp_path / "data")]
    done = bus(tmp_path, "install-service", "--", *words)
    assert done.returncode == 0, done.stderr
    unit = tmp_path / ".config" / "systemd" / "user" / "tesp-node.service"
    assert "Description=tesp agent metrics: node\n" in unit.read_text()
    script = tmp_path / ".config" / "tesp" / "node.sh"
    with (
        mosquitto.listening(f"{prefix}/infrastructure/metrics/+/status", 1) as there,
        booted(shlex.quote(str(script)), tmp_path),
    ):
        assert '"status":"measured"' in there.lines()[0]


def test_a_line_of_the_crontab_starts_it_and_goes_again(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    home = tmp_path / "50%"
    programs = home / "bin"
    programs.mkdir(parents=True)
    (programs / "crontab").write_text(_CRONTAB)
    (programs / "crontab").chmod(0o755)
    (home / "crontab").write_text("0 1 * * * own\n")
    # A program of the environment that it was installed from, and a path from there.
    (programs / "only-here").write_text('#!/bin/sh\necho "$TAEL_X $PWD" >ran.new; mv ran.new ran\n')
    (programs / "only-here").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    place = ["--host", mosquitto.url, "--mqtt-env", prefix]
    words = ["listen", "-t", f"{prefix}/a b/status", "-c", "only-here", "--who", "next", *place]
    for _ in range(2):
        done = bus(home, "install-service", "--cron", "--", *words, PATH=path)
        assert done.returncode == 0, done.stderr
    own, line = (home / "crontab").read_text().splitlines()
    assert own == "0 1 * * * own"
    assert line.startswith("@reboot ")
    assert not line.replace("\\%", "").count("%")
    topic = f"{prefix}/infrastructure/pipelines/next/status"
    with (
        mosquitto.listening(topic, 2) as there,
        booted(line.removeprefix("@reboot ").replace("\\%", "%"), home),
    ):
        control = f"{prefix}/infrastructure/pipelines/next/control"
        raise_until_started(mosquitto, control, home / "ran")
        said = [json.loads(one.split(" ", 1)[1]) for one in there.lines()]
    assert said[1]["status"] == "finished"
    assert (home / "ran").read_text() == f"1 {home}\n"
    back = done.stdout.split("Take it back:")[1]
    subprocess.run(["sh", "-ec", back], env={"HOME": str(home), "PATH": path}, check=True, cwd=home)
    assert (home / "crontab").read_text() == "0 1 * * * own\n"
    assert not (home / ".config" / "tesp" / "next.sh").exists()


def raise_until_started(mosquitto: MosquittoServer, control: str, ran: Path) -> None:
    """Nobody tells when a program that cron started listens."""

    def tried() -> bool:
        mosquitto.send(control, '{"action": "raise", "x": 1}')
        return ran.exists()

    wait_until(tried, "it runs")


def test_only_what_runs_on_can_be_a_service(tmp_path: Path) -> None:
    told = ["-t", "a", "-c", "true"]
    for words in (
        ["send", "-t", "a"],
        ["listen", *told],
        ["listen", *told, "--who", "../x"],
        ["beacon", "--evry", "3"],
        ["agent"],
        ["agent", "smith"],
        ["agent", "publisher", "--whom", "x"],
    ):
        done = bus(tmp_path, "install-service", "--", *words)
        assert done.returncode == 2, done.stderr
    assert not (tmp_path / ".config").exists()
