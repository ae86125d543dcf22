"""What goes to standard error."""

import json
import logging

import httpx
import pytest

from tesp.logs import configure_logging
from tesp.settings import LoggingSettings
from tests.peers.http_server import HttpServer


def test_lines_are_plain_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LoggingSettings())
    logging.getLogger("tesp.somewhere").info("Task %s: begun", "x")
    line = capsys.readouterr().err
    assert line.endswith("INFO    tesp.somewhere: Task x: begun\n")


def test_lines_are_json_where_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LoggingSettings(output_json=True))
    try:
        int("broken")
    except ValueError:
        logging.getLogger("tesp.somewhere").exception("It failed")
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["message"]) == ("ERROR", "It failed")
    assert "ValueError: invalid literal" in line["exception"]


def test_the_level_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LoggingSettings(level="ERROR"))
    logging.getLogger("tesp.somewhere").warning("no")
    assert capsys.readouterr().err == ""


async def test_the_addresses_of_transfers_stay_out_of_the_log(
    capsys: pytest.CaptureFixture[str], http_server: HttpServer
) -> None:
    configure_logging(LoggingSettings(level="DEBUG"))
    async with httpx.AsyncClient() as client:
        await client.get(f"{http_server.url}/file?X-Amz-Signature=sesame")
    assert "sesame" not in capsys.readouterr().err
