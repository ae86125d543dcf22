"""VOEvents for the tests."""

import uuid

WHAT = """
    <Param name="TrigID" value="1234" dataType="int"/>
    <Group name="Burst"><Param name="Flux" value="0.5" dataType="float" unit="Jy"/></Group>
"""


def event(ivorn: str | None = None, what: str = WHAT, role: str = "observation") -> bytes:
    """An event; without an identifier, one that nobody has seen."""
    known = ivorn or f"ivo://org.example/grb#{uuid.uuid4().hex}"
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<voe:VOEvent xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    ivorn="{known}" role="{role}" version="2.0"
    xsi:schemaLocation="http://www.ivoa.net/xml/VOEvent/v2.0 VOEvent-v2.0.xsd">
  <Who>
    <AuthorIVORN>ivo://org.example/author</AuthorIVORN>
    <Date>2026-01-02T03:04:05</Date>
  </Who>
  <What>{what}</What>
  <Why importance="0.5"><Inference probability="0.9"><Concept>process</Concept></Inference></Why>
</voe:VOEvent>""".encode()


def ivorn(raw: bytes) -> str:
    """The identifier of an event."""
    return raw.decode().partition('ivorn="')[2].partition('"')[0]
