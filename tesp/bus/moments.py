"""Moments as messages say them. Pure."""

from datetime import UTC, datetime


def seconds_of(said: object, otherwise: float) -> float:
    """A moment in ISO 8601, in UTC where it does not say another, as seconds since 1970."""
    try:
        moment = datetime.fromisoformat(str(said))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return otherwise
