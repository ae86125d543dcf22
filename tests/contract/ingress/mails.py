"""Mails for the tests, as a node of a computing centre makes them, and a way in for them."""

import base64
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from tesp.ingress import Deliver
from tesp.ingress.mail import Reading
from tesp.ingress.smtp import SmtpIngress
from tesp.settings import SmtpSettings

USER = {"username": "node", "password": "rose and crown"}
SIMULATION = "5f0e1c9a-3f0d-4c3e-9a55-0b7f6a1f2d11"


def line(identifier: str, code: str = "1000", **more: object) -> str:
    """One message."""
    fields = {
        "msgCode": code,
        "msgUID": identifier,
        "msgProducer": "libIGCM",
        "msgProducerVersion": "2.8.1",
        "msgTimestamp": "2015-04-13T09:30:00",
        "simuid": SIMULATION,
        "jobuid": str(uuid.uuid4()),
        **more,
    }
    return base64.b64encode(json.dumps(fields).encode()).decode()


def mail(*lines: str) -> EmailMessage:
    """A mail of them."""
    one = EmailMessage()
    one["From"], one["To"] = "node@hpc.example", "in@tes.example"
    one.set_content("".join(f"{text}\n" for text in lines))
    return one


@contextlib.asynccontextmanager
async def smtp_ingress(taker: Deliver, directory: Path, **keys: Any) -> AsyncIterator[SmtpIngress]:
    """A way in that listens."""
    settings = SmtpSettings(enabled=True, port=0, hostname="localhost", **keys)
    reading = Reading("tesp", excluded=frozenset(settings.excluded_types))
    ingress = SmtpIngress(settings, reading, taker, directory / "mails.sqlite")
    await ingress.start()
    try:
        yield ingress
    finally:
        await ingress.close()
