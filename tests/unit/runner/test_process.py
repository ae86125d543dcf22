"""Children whose output is read until they end."""

import os

import pytest

from tesp.runner import process
from tesp.runner.process import Sink

SAID = 60_000  # less than a pipe holds


def test_what_a_child_said_last_is_read_although_we_were_stopped_for_long_as_it_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "LINGER_SECONDS", 0.0)  # as if so long had passed just then
    (stdin, go), (out, stdout) = os.pipe(), os.pipe()
    argv = ["/bin/sh", "-c", f"read go; head -c {SAID} /dev/zero"]
    pid = process.spawn(argv, {"PATH": os.environ["PATH"]}, (stdin, stdout, stdout))
    os.close(stdin)
    os.close(stdout)

    def until_it_has_ended() -> None:
        os.write(go, b"\n")
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    said = Sink()
    ended = process.pump(pid, {out: said}, each=until_it_has_ended)
    os.close(go)
    assert (ended.code, len(said.data)) == (0, SAID)
