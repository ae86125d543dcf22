"""Expressions that the server works out inside of one write.

Times and states are the server's to compute: no value of a client's clock, or of an earlier
read, goes into a write. Texts of users are literals, for a `$` in them means nothing.
"""

from typing import Any

from tesp.tes.states import Transition, sources

Expression = dict[str, Any]
Stage = dict[str, Any]

NOW: Expression = {"$toLong": "$$NOW"}


def literal(value: object) -> Expression:
    """A value in which nothing is looked for."""
    return {"$literal": value}


def after(seconds: float) -> Expression:
    """A time by the server's clock."""
    return {"$add": [NOW, milliseconds(seconds)]}


def milliseconds(seconds: float) -> int:
    """Whole milliseconds."""
    return round(seconds * 1000)


def passed(field: str) -> Expression:
    """Whether the time in that field has come."""
    return {"$lte": [{"$ifNull": [f"${field}", 0]}, NOW]}


def target_of(transition: Transition) -> Expression:
    """The state that the transition leads to from the state that is stored."""
    branches = [
        {"case": {"$eq": ["$state", source.value]}, "then": to.value}
        for source, to in sources(transition).items()
    ]
    return {"$switch": {"branches": branches, "default": "$state"}}


def moved(transition: Transition, reason: str | None = None) -> list[Stage]:
    """Stages that change the state and put the event into history and outbox."""
    event: Expression = {
        "number": "$events",
        "state": "$state",
        "time": NOW,
        "attempt": "$attempt.number",
    }
    if reason is not None:
        event["reason"] = literal(reason)
    return [
        {"$set": {"state": target_of(transition), "events": {"$add": ["$events", 1]}}},
        {
            "$set": {
                "history": {"$concatArrays": ["$history", [event]]},
                "outbox": {"$ifNull": ["$outbox", NOW]},
            }
        },
    ]


def taken(free: Expression, members: Expression) -> list[Stage]:
    """Stages for an upsert: the document with these members where it is free, else unchanged."""
    mine = {"$mergeObjects": [{"_id": "$_id"}, members]}
    return [{"$replaceWith": {"$cond": [free, mine, "$$ROOT"]}}]
