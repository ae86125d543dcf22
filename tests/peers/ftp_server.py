"""A real FTP server (pyftpdlib) over a directory: plain or with AUTH TLS; it cuts on demand."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import DTPHandler, FTPHandler, TLS_DTPHandler, TLS_FTPHandler
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer as Server

_ALL_RIGHTS = "elradfmwMT"


class FtpServer:
    """Serves `directory` at `url` to one user, or to anonymous where no user is given.

    `cut_down` and `cut_up` hold byte counts: each data connection of that direction takes the
    first one and is cut, with the control connection, when so many bytes passed. `commands`
    lists what clients asked for. With `certificate` (a PEM file with its key) AUTH TLS is needed.
    """

    def __init__(
        self,
        directory: Path,
        username: str = "",
        password: str = "",
        certificate: Path | None = None,
    ) -> None:
        self.directory = directory
        self.cut_down: list[int] = []
        self.cut_up: list[int] = []
        self.commands: list[str] = []
        authorizer = DummyAuthorizer()
        if username:
            authorizer.add_user(username, password, str(directory), perm=_ALL_RIGHTS)
        else:
            authorizer.add_anonymous(str(directory), perm=_ALL_RIGHTS)
        self._server = self._listen(authorizer, certificate)
        self.port: int = self._server.address[1]
        self.url = f"ftp{'s' if certificate else ''}://127.0.0.1:{self.port}"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._server.close_all()

    def _listen(self, authorizer: DummyAuthorizer, certificate: Path | None) -> Server:
        transfer: type[DTPHandler] = TLS_DTPHandler if certificate else DTPHandler
        control: type[FTPHandler] = TLS_FTPHandler if certificate else FTPHandler
        owner = self

        class Transfer(_Cutting, transfer):  # type: ignore[misc,valid-type]
            peer = owner

        class Control(control):  # type: ignore[misc,valid-type]
            dtp_handler = Transfer
            use_sendfile = False
            auth_failed_timeout = 0.05

            def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
                owner.commands.append(cmd)
                super().pre_process_command(line, cmd, arg)

        Control.authorizer = authorizer
        if certificate:
            Control.certfile = str(certificate)
            Control.tls_control_required = Control.tls_data_required = True
        return Server(("127.0.0.1", 0), Control, ioloop=IOLoop())

    def _serve(self) -> None:
        while not self._ended.is_set():
            self._server.serve_forever(timeout=0.05, blocking=False)


class _Cutting:
    """A data connection that ends, and its control connection with it, after so many bytes."""

    peer: FtpServer
    _left: int | None = None
    _drawn = False

    def send(self: Any, data: bytes) -> int:
        self._draw(self.peer.cut_down)
        sent: int = super().send(data if self._left is None else data[: self._left])
        self._count(sent)
        return sent

    def handle_read(self: Any) -> None:
        self._draw(self.peer.cut_up)
        before = self.tot_bytes_received
        super().handle_read()
        self._count(self.tot_bytes_received - before)

    def _draw(self: Any, cuts: list[int]) -> None:
        # Only files are cut; a listing has no file behind it.
        if not self._drawn and self.file_obj is not None and cuts:
            self._left = cuts.pop(0)
        self._drawn = True

    def _count(self: Any, size: int) -> None:
        if self._left is not None:
            self._left -= size
            if self._left <= 0:
                self._left = None
                self.cmd_channel.close()
