"""Mails for the tests, as a node of a computing centre makes them."""

import base64
import json
import uuid
from email.message import EmailMessage

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
