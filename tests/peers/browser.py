"""A real browser without a window."""

from pathlib import Path

from tests.peers.room import PeerError, Room

# What is on the PATH is a shell script, which would end without its browser.
_PROGRAM = Path("/usr/lib/chromium/chromium-headless-shell")


def open_page(room: Room, url: str, *pins: str) -> None:
    """Open a page, and leave it open until the room ends. It trusts the keys with these pins."""
    if not _PROGRAM.exists():
        raise PeerError(f"{_PROGRAM}: no such program; `make test` installs it")
    argv: list[str | Path] = [
        _PROGRAM,
        "--no-sandbox",  # it will not run for root otherwise
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--remote-debugging-port=0",  # or it leaves when the page is loaded
        f"--user-data-dir={room.directory}/profile",
        f"--ignore-certificate-errors-spki-list={','.join(pins)}",
        url,
    ]
    room.start("browser", argv)
