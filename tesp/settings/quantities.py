"""The kinds of numbers in settings, each within the bounds of what can work."""

from typing import Annotated

from pydantic import Field

# Clocks and timers of systems and libraries take no more, `inf` least of all.
CENTURY_DAYS = 36_525
CENTURY_SECONDS = CENTURY_DAYS * 86_400

Seconds = Annotated[float, Field(gt=0, le=CENTURY_SECONDS)]
"""A pause, or what a peer's silence is measured by."""

Patience = Annotated[float, Field(gt=0)]
"""How long something is waited for, or kept, in the unit of its name; `inf` is for ever."""

Gigabytes = Annotated[float, Field(gt=0, le=1e9)]
"""As bytes, a number that every database has."""

Port = Annotated[int, Field(ge=1, le=65535)]
"""A port to go to, or of which others must know."""

OwnPort = Annotated[int, Field(ge=0, le=65535)]
"""A port to listen on; 0 is any free one."""
