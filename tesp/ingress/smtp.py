"""Mails in: an SMTP server whose 250 says that all messages of a mail were delivered."""

import asyncio
import contextlib
import hmac
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tesp.bus import Delivery, Message, tael
from tesp.errors import MessageRefused, SettingsError, TespError
from tesp.ingress import Deliver
from tesp.ingress.doorway import Doorway
from tesp.ingress.mail import Dropped, MailRefused, Opened, Reading
from tesp.ingress.memory import MailCount, Memory
from tesp.ingress.networks import is_within
from tesp.settings.ingress import SmtpSettings
from tesp.threads import in_thread

_log = logging.getLogger(__name__)

_DAY = 86400.0
_DELIVERY_SECONDS = 120.0
_IDLE_SECONDS = 300.0
_CLOSING_SECONDS = 10.0
_LONGEST_LINE_BYTES = 4 << 20
_LONGEST_REPLY = 400
_LATER = "451 4.3.0 The messages could not be passed on just now; send the mail again."


@dataclass(slots=True)
class Tally:
    """What became of the messages of one mail."""

    received: int
    delivered: int = 0
    dropped: int = 0
    duplicate: int = 0

    def __str__(self) -> str:
        return (
            f"received {self.received}, delivered {self.delivered}, "
            f"dropped {self.dropped}, duplicate {self.duplicate}"
        )


class SmtpIngress:
    """Takes mails in Prodiguer's format. Trusted is who has logged in, or comes from a trusted
    network."""

    def __init__(
        self,
        settings: SmtpSettings,
        reading: Reading,
        deliver: Deliver,
        file: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._reading = reading
        self._deliver = deliver
        self._file = file
        self._clock = clock
        self._turn = asyncio.Lock()
        self._sessions: set[_Connection] = set()
        self._memory: Memory | None = None
        self._doorway = Doorway("ingress.smtp", settings.host, settings.port, self._connection)
        self._tls: ssl.SSLContext | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._doorway.port

    async def start(self) -> None:
        """Listen; raises SettingsError where that cannot be."""
        self._tls = _tls(self._settings.certificate)
        self._memory = await in_thread(Memory, self._file)
        try:
            await self._doorway.open()
        except SettingsError:
            self._memory.close()
            raise

    async def close(self) -> None:
        """Take no more mails, end the one in hand, and let go."""
        self._doorway.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_SECONDS), self._turn:
                pass
        for session in list(self._sessions):
            session.end()
        if self._memory is not None:
            await in_thread(self._memory.close)

    async def counts(self, limit: int = 100) -> Sequence[MailCount]:
        """The latest mails, newest first."""
        return await in_thread(self._kept.counts, limit)

    @property
    def _kept(self) -> Memory:
        assert self._memory is not None
        return self._memory

    def _connection(self) -> "_Connection":
        settings, tls = self._settings, self._tls
        return _Connection(
            _Mailbox(self._take, self._may_send),
            self._sessions,
            settings.connections,
            data_size_limit=settings.most_mail_bytes,
            enable_SMTPUTF8=True,
            hostname=settings.hostname,
            ident="tesp",
            tls_context=tls,
            require_starttls=settings.require_tls,
            timeout=_IDLE_SECONDS,
            auth_require_tls=tls is not None,
            authenticator=self._authenticated,
            auth_exclude_mechanism=() if settings.users else ("PLAIN", "LOGIN"),
            loop=asyncio.get_running_loop(),
        )

    def _may_send(self, session: Session) -> bool:
        settings = self._settings
        return not settings.users or settings.allow_anonymous or self._is_trusted(session)

    def _is_trusted(self, session: Session) -> bool:
        by_network = is_within(session.peer, self._settings.trusted_networks)
        return by_network or bool(session.authenticated)

    def _authenticated(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        known = False
        if isinstance(data, LoginPassword):
            for user in self._settings.users:
                named = hmac.compare_digest(data.login, user.username.encode())
                secret = user.password.get_secret_value().encode()
                known |= hmac.compare_digest(data.password, secret) and named
        # Without `handled`, the server itself answers 535.
        return AuthResult(success=known, handled=False)

    async def _take(self, session: Session, envelope: Envelope) -> str:
        """The reply to a mail."""
        raw = bytes(envelope.original_content or b"")
        trusted = self._is_trusted(session)
        try:
            opened = await in_thread(self._reading.opened, raw, self._clock())
            return await self._passed_on(opened, trusted)
        except MailRefused as error:
            _log.warning("A mail from %s was refused: %s", _who(session, envelope), error)
            return _reply("554 5.6.0", str(error))
        except (TespError, TimeoutError) as error:
            _log.warning("A mail from %s waits: %s", _who(session, envelope), error)
            return _LATER

    async def _passed_on(self, opened: Opened, trusted: bool) -> str:
        # One mail after the other: of two with the same message, the second finds it known.
        async with self._turn, asyncio.timeout(_DELIVERY_SECONDS):
            tally, reasons = await self._delivered(opened, trusted)
        said = "; ".join([str(tally), *opened.remarks, *reasons])
        _log.info("The mail %s: %s", opened.id, said)
        excluded = sum(isinstance(one, Dropped) and one.excluded for one in opened.items)
        if tally.received == tally.dropped and tally.dropped > excluded:
            return _reply("554 5.6.0", f"Every message was dropped: {said}")
        return _reply("250 2.6.0", said)

    async def _delivered(self, opened: Opened, trusted: bool) -> tuple[Tally, list[str]]:
        memory, tally = self._kept, Tally(len(opened.items))
        reasons: dict[str, None] = {}
        for one in opened.items:
            if isinstance(one, Dropped):
                tally.dropped += 1
                reasons[one.reason] = None
            elif await in_thread(memory.knows, _known_as(one, trusted)):
                tally.duplicate += 1
            else:
                try:
                    await self._one(one, trusted)
                    tally.delivered += 1
                except MessageRefused as error:
                    tally.dropped += 1
                    reasons[str(error)] = None
        await in_thread(self._keep, opened.id, tally)
        return tally, list(reasons)

    async def _one(self, message: Message, trusted: bool) -> None:
        await self._deliver(Delivery(message, tael.encode(message), trusted))
        known = [_known_as(message, trusted)]
        await in_thread(self._kept.remember, known, self._clock())

    def _keep(self, mail: str, tally: Tally) -> None:
        counts = (tally.received, tally.delivered, tally.dropped, tally.duplicate)
        self._kept.count(mail, counts, self._clock())
        self._kept.forget(self._clock() - self._settings.remember_days * _DAY)


class _Mailbox:
    """What aiosmtpd asks."""

    def __init__(
        self,
        take: Callable[[Session, Envelope], Awaitable[str]],
        may_send: Callable[[Session], bool],
    ) -> None:
        self._take = take
        self._may_send = may_send

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not self._may_send(session):
            return "530 5.7.0 Log in first: this server takes mails of its users alone."
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_DATA(self, server: "_Connection", session: Session, envelope: Envelope) -> str:
        server.begin_anew()
        return await self._take(session, envelope)

    async def handle_exception(self, error: Exception) -> str:
        _log.error("A mail met an error of ours.", exc_info=error)
        return _LATER


class _Connection(SMTP):
    """One sender. Lines may be long, for a message is one; what has no end is cut off."""

    line_length_limit = _LONGEST_LINE_BYTES

    def __init__(
        self, mailbox: _Mailbox, sessions: "set[_Connection]", most: int, **options: object
    ) -> None:
        super().__init__(mailbox, **options)  # type: ignore[arg-type]
        self._sessions = sessions
        self._most = most
        self._bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the sender, or tell him that there are too many."""
        super().connection_made(transport)
        self._sessions.add(self)
        if len(self._sessions) > self._most and isinstance(transport, asyncio.Transport):
            transport.write(b"421 4.7.0 Too many connections; come back later.\r\n")
            transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget him."""
        self._sessions.discard(self)
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Count what comes: aiosmtpd would keep a line without an end, however long."""
        self._bytes += len(data)
        if self._bytes > 2 * (self.data_size_limit or 0) + _LONGEST_LINE_BYTES:
            _log.warning("A sender of mails sent without end, and was cut off.")
            self.end()
            return
        super().data_received(data)

    def begin_anew(self) -> None:
        """A mail has ended."""
        self._bytes = 0

    def end(self) -> None:
        """Cut it off."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()


def _tls(certificate: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"ingress.smtp.certificate: {certificate} is no PEM of a key and its chain: {error}"
        ) from error
    return context


def _known_as(message: Message, trusted: bool) -> str:
    """Nobody unknown can have a message skipped that somebody trusted sends later."""
    return f"{'trusted' if trusted else 'open'}:{message.id}"


def _who(session: Session, envelope: Envelope) -> str:
    return f"{envelope.mail_from!r} at {session.peer}"[:_LONGEST_REPLY]


def _reply(code: str, said: str) -> str:
    """One line, of what SMTP can say."""
    plain = said.encode("ascii", "replace").decode()
    line = "".join(sign if sign.isprintable() else " " for sign in plain)
    return f"{code} {line[:_LONGEST_REPLY]}"
