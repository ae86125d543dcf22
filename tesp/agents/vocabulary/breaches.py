"""Messages that break a rule, and what is said of that. Pure."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tesp.agents.vocabulary.terms import Vocabulary
from tesp.bus import Message, Value
from tesp.errors import SettingsError
from tesp.settings import TermRule
from tesp.tes.templates import text_of

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:tesp:term")
_LONGEST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Breach:
    """A field that is no term of its collection; `value` is None where it is missing."""

    field: str
    value: str | None
    collection: str
    nearest: str | None

    @property
    def sentence(self) -> str:
        """What is wrong, with the mend."""
        if self.value is None:
            return f"{self.field} is missing; it must be a term of {self.collection}"
        hint = f"; did you mean {self.nearest}?" if self.nearest else ""
        return f"{self.field} = {self.value!r} is no term of {self.collection}{hint}"


def check(vocabulary: Vocabulary, rules: Sequence[TermRule]) -> None:
    """Raise SettingsError where a rule asks for a collection that is not there."""
    for number, rule in enumerate(rules):
        if rule.collection not in vocabulary.collections:
            there = ", ".join(sorted(vocabulary.collections))
            raise SettingsError(
                f"vocabulary.rules.{number}.collection: there is no {rule.collection}; "
                f"there are: {there}"
            )


def breaches(
    vocabulary: Vocabulary, rules: Sequence[TermRule], payload: Mapping[str, Value]
) -> list[Breach]:
    """Where these fields break the rules."""
    found = []
    for rule in rules:
        value = payload.get(rule.field)
        collection = vocabulary.collections[rule.collection]
        if value is None:
            if rule.required:
                found.append(Breach(rule.field, None, rule.collection, None))
        elif collection.find(text_of(value)) is None:
            text = text_of(value)
            near = collection.nearest(text)
            found.append(Breach(rule.field, text[:_LONGEST_SHOWN], rule.collection, near))
    return found


def topic(prefix: str) -> str:
    """Where breaches are told."""
    return f"{prefix}/infrastructure/vocabulary/status"


def message(prefix: str, cause: Message, breach: Breach) -> Message:
    """The word of a breach; told again it has the same id."""
    said: dict[str, Value] = {
        "topic": cause.topic,
        "message": cause.id,
        "field": breach.field,
        "value": breach.value,
        "collection": breach.collection,
        "nearest": breach.nearest,
        "reason": breach.sentence,
        "announce": True,
        "status": "failed",
    }
    name = str(uuid.uuid5(_NAMESPACE, f"{cause.id}/{breach.field}/{breach.collection}"))
    return Message(topic(prefix), said, name, time.time(), cause.correlation, cause.hops + 1)
