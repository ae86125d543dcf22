"""Notes by mail: one mail for each receiver, in plain text."""

from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from tesp.agents.notifications import Note
from tesp.agents.notifications.own_thread import in_own_thread
from tesp.bus.mail_server import MailServer


class MailNotifier:
    """Sends notes over a mail server."""

    def __init__(self, server: MailServer, sender: str) -> None:
        self._server = server
        self._sender = sender

    async def notify(self, note: Note, receiver: str) -> None:
        """Send one mail; returns when the server has taken it."""
        mail = written(note, self._sender, receiver)
        await in_own_thread(lambda: self._server.send([mail], self._sender, receiver))

    async def close(self) -> None:
        """Nothing is open."""


def written(note: Note, sender: str, receiver: str) -> EmailMessage:
    """The mail. Its Message-ID is made of the note's, so that one that comes twice is known."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, receiver, note.subject
    mail["Date"] = format_datetime(datetime.fromtimestamp(note.time, UTC))
    mail["Message-ID"] = f"<{note.id}@{sender.rpartition('@')[2]}>"
    # So that no out-of-office reply comes.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(note.text)
    return mail
