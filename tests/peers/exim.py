"""A real Exim of the tests' own on 127.0.0.1: the mail server of a site, or a centre's relay."""

import dataclasses
import email
import email.policy
import shutil
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Self

from tests.peers.certificates import Certificate
from tests.peers.room import PeerError, Room, answers, free_port, wait_until

USER, PASSWORD = "node", "rose and crown"
# Whom it refuses for ever.
NOBODY = "nobody@tes.example"
_PROGRAM = Path("/usr/sbin/exim4")
_OWNER = "Debian-exim"

_CONFIG = """\
primary_hostname = relay.example
spool_directory = {directory}/spool
log_file_path = {directory}/exim-%s.log
pid_file_path = {directory}/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port} : {guarded_port} : {tls_port}
tls_on_connect_ports = {tls_port}
tls_advertise_hosts = *
tls_certificate = {directory}/certificate.pem
tls_privatekey = {directory}/certificate.pem
deliver_drop_privilege = true
message_size_limit = 20M
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 0
acl_smtp_mail = from
acl_smtp_rcpt = to
acl_smtp_data = data

begin acl
from:
  deny !authenticated = *
    condition = ${{if ={{$received_port}}{{{guarded_port}}}}}
    message = log in first
  accept
to:
  deny local_parts = nobody
    message = there is no such person
  defer condition = ${{if exists{{{directory}/busy}}}}
    message = come back later
  accept
data:
  deny condition = ${{if exists{{{directory}/strict}}}}
    message = this looks like an advertisement
  accept

begin routers
{router}

begin transports
box:
  driver = appendfile
  maildir_format
  directory = {directory}/box
  create_directory
  envelope_to_add
onward:
  driver = smtp
  port = {onward}
  allow_localhost

begin retry
* * F,1d,1s

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_advertise_condition = ${{if def:tls_in_cipher}}
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{user}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
"""
_KEEPS = "all:\n  driver = accept\n  transport = box"
_RELAYS = (
    "all:\n  driver = manualroute\n  route_list = * 127.0.0.1\n  self = send\n  transport = onward"
)


@dataclasses.dataclass(frozen=True)
class EximServer:
    """`port` is open to all; `guarded_port` asks for a login, after STARTTLS; `tls_port` speaks TLS
    at once. What it takes lies in `mails()`, or goes on to another server's port. It can be
    stopped and started again."""

    port: int
    guarded_port: int
    tls_port: int
    room: Room

    @classmethod
    def boot(cls, room: Room, onward: int | None = None) -> Self:
        """Start it with its mails in the room, or as a relay to another server."""
        if not _PROGRAM.exists():
            raise PeerError("exim4: no such program; `make test` installs it")
        # Its daemon reads and writes under a name of its own.
        place = room.directory / "exim"
        place.mkdir()
        room.directory.chmod(0o711)
        server = cls(free_port(), free_port(), free_port(), room)
        Certificate.make(place)
        server._configure(onward)
        shutil.chown(place, _OWNER)
        shutil.chown(place / "certificate.pem", _OWNER)
        server.start()
        return server

    def _configure(self, onward: int | None) -> None:
        config = self.directory / "exim.conf"
        config.write_text(
            _CONFIG.format(
                directory=self.directory,
                port=self.port,
                guarded_port=self.guarded_port,
                tls_port=self.tls_port,
                router=_RELAYS if onward else _KEEPS,
                onward=onward or 25,
                user=USER,
                password=PASSWORD,
            )
        )
        config.chmod(0o644)

    @property
    def directory(self) -> Path:
        """Where it keeps what it has."""
        return self.room.directory / "exim"

    @property
    def certificate(self) -> Certificate:
        """What it shows."""
        return Certificate(self.directory / "certificate.pem")

    def start(self) -> None:
        """Start it over the mails that are there, and wait until it answers."""
        argv: list[str | Path] = [_PROGRAM, "-C", self.directory / "exim.conf", "-bdf", "-q1s"]
        self.room.start("exim", argv)
        for port in (self.port, self.guarded_port, self.tls_port):
            self.room.wait_until(partial(answers, port), f"Exim answers on {port}")

    def stop(self) -> None:
        """End it in order."""
        self.room.end()

    def is_busy(self, busy: bool) -> None:
        """Whether it says 451 to everybody for now."""
        self._say("busy", busy)

    def is_strict(self, strict: bool) -> None:
        """Whether it says 550 to each mail for what is in it."""
        self._say("strict", strict)

    def _say(self, what: str, so: bool) -> None:
        (self.directory / what).touch() if so else (self.directory / what).unlink()

    def mails(self) -> list[EmailMessage]:
        """What came, in its order."""
        files = sorted((self.directory / "box/new").glob("*"), key=lambda f: f.stat().st_mtime_ns)
        policy = email.policy.default
        return [email.message_from_bytes(file.read_bytes(), policy=policy) for file in files]

    def mails_when(self, count: int) -> list[EmailMessage]:
        """The same, when there are so many at least."""
        wait_until(lambda: len(self.mails()) >= count, f"{count} mails: {self.log()}")
        return self.mails()

    def log(self) -> str:
        """What it says of its mails."""
        log = self.directory / "exim-main.log"
        return log.read_text() if log.exists() else ""
