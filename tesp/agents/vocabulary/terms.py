"""Terms in collections, and collections in namespaces, out of files of JSON or TOML."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import Field, field_validator

from tesp.errors import SettingsError
from tesp.settings.complaints import checked
from tesp.settings.patterns import Pattern
from tesp.settings.section import Section

_NAME = r"^[A-Za-z0-9_.-]{1,64}$"
_SUFFIXES = (".json", ".toml")
_MOST_FILE_BYTES = 16 << 20
# Longer texts are like no term.
_LONGEST_LIKE = 200


class Term(Section):
    """One term. With a `pattern` all texts are this term that match it, from end to end."""

    name: str = Field(min_length=1, max_length=_LONGEST_LIKE)
    label: str = ""
    synonyms: tuple[str, ...] = ()
    pattern: str | None = None

    @field_validator("pattern")
    @classmethod
    def _is_a_pattern(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            Pattern(pattern)
        return pattern


class _Collection(Section):
    label: str = ""
    terms: tuple[Term, ...] = ()


class _File(Section):
    namespace: str = Field(pattern=_NAME)
    label: str = ""
    collections: Mapping[str, _Collection]


class Collection:
    """Terms by name and by synonym."""

    def __init__(self, key: str, label: str, terms: tuple[Term, ...]) -> None:
        """Raises SettingsError where a text would be two terms."""
        self.key, self.label, self.terms = key, label, terms
        self._of_text: dict[str, Term] = {}
        for term in terms:
            for text in dict.fromkeys((term.name, *term.synonyms)):
                other = self._of_text.setdefault(text, term)
                if other is not term:
                    both = f"{other.name} and {term.name}"
                    raise SettingsError(f"{key}: {text!r} would be two terms, {both}")
        self._patterns = [(Pattern(f"^(?:{t.pattern})$"), t) for t in terms if t.pattern]

    def find(self, text: str) -> Term | None:
        """The term that has this name or synonym, or else whose pattern it matches."""
        if text in self._of_text:
            return self._of_text[text]
        return next((term for pattern, term in self._patterns if pattern.finds(text)), None)

    def nearest(self, text: str) -> str | None:
        """The name of the term that may have been meant."""
        # Case is the most common slip, and counts for nothing here.
        known = {one.casefold(): term.name for one, term in self._of_text.items()}
        known |= {term.label.casefold(): term.name for term in self.terms if term.label}
        asked = text[:_LONGEST_LIKE].casefold()
        near = difflib.get_close_matches(asked, known, 1)
        return known[near[0]] if near else None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All collections, by `namespace:collection`."""

    collections: Mapping[str, Collection]

    def __len__(self) -> int:
        return sum(len(one.terms) for one in self.collections.values())


def read(directory: Path) -> Vocabulary:
    """What the files of a directory say; raises SettingsError, with the file and the mend."""
    if not directory.is_dir():
        raise SettingsError(f"vocabulary.directory: there is no directory {directory}")
    found: dict[str, Collection] = {}
    for file in sorted(directory.iterdir()):
        if file.suffix in _SUFFIXES and not file.name.startswith("."):
            for collection in _collections(file):
                if collection.key in found:
                    raise SettingsError(f"{file}: {collection.key} is in another file, too")
                found[collection.key] = collection
    if not found:
        raise SettingsError(
            f"vocabulary.directory: {directory} has no file of terms, *.json or *.toml"
        )
    return Vocabulary(found)


def _collections(file: Path) -> Iterator[Collection]:
    try:
        content = checked(_File, _document(file))
        for name, one in content.collections.items():
            yield Collection(f"{content.namespace}:{name}", one.label, one.terms)
    except SettingsError as error:
        raise SettingsError(f"{file}: {error}") from None


def _document(file: Path) -> Mapping[str, Any]:
    try:
        data = file.read_bytes()
        if len(data) > _MOST_FILE_BYTES:
            raise SettingsError(f"this has more than {_MOST_FILE_BYTES} bytes")
        document = tomllib.loads(data.decode()) if file.suffix == ".toml" else orjson.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"this cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise SettingsError("this is no table of namespace and collections")
    return document
