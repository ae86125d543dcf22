"""POSIX wildcards of one path component: XCU 2.13, pattern matching notation; and `{a,b}`."""

import re
from typing import Callable, List, Tuple

MOST_ALTERNATIVES = 1000
_ALTERNATIVES = r"\{([^{},/]*(?:,[^{},/]*)+)\}"

_CLASSES = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\s",
    "blank": r" \t",
    "punct": r"!-/:-@\[-`{-~",
    "xdigit": "0-9a-fA-F",
    "print": r"\x20-\x7e",
    "graph": r"\x21-\x7e",
    "cntrl": r"\x00-\x1f\x7f",
}


def is_pattern(component: str) -> bool:
    """Whether a component matches anything but itself."""
    return any(c in component for c in "*?[")


def matcher(component: str) -> Callable[[str], bool]:
    """What tells whether a name matches; a leading dot has to be written out."""
    pattern = re.compile(_translate(component), re.DOTALL)
    dotted = literal(component[:2]).startswith(".")

    def matches(name: str) -> bool:
        return (dotted or not name.startswith(".")) and pattern.fullmatch(name) is not None

    return matches


def alternatives(path: str) -> List[str]:
    """The paths that one with `{a,b}` stands for; none where it has no such thing, or too many."""
    todo, found = [path], []  # type: List[str], List[str]
    while todo and len(todo) + len(found) <= MOST_ALTERNATIVES:
        text = todo.pop()
        group = re.search(_ALTERNATIVES, text)
        if group is None:
            found.append(text)
        else:
            start, end = group.span()
            todo += [text[:start] + choice + text[end:] for choice in group.group(1).split(",")]
    return [] if todo or found == [path] else sorted(set(found))


def literal(component: str) -> str:
    """A component without the backslashes that quote its characters."""
    return re.sub(r"\\(.)", r"\1", component, flags=re.DOTALL)


def _translate(component: str) -> str:
    out, i = [], 0
    while i < len(component):
        char = component[i]
        i += 1
        if char == "*":
            out.append(".*")
        elif char == "?":
            out.append(".")
        elif char == "\\" and i < len(component):
            out.append(re.escape(component[i]))
            i += 1
        elif char == "[":
            bracket, i = _bracket(component, i)
            out.append(bracket)
        else:
            out.append(re.escape(char))
    return "".join(out)


def _bracket(text: str, start: int) -> Tuple[str, int]:
    """Translate what follows `[`; without its `]` it stands for itself."""
    end = _closing(text, start)
    if end < 0:
        return re.escape("["), start
    body, negated = text[start:end], text[start : start + 1] in ("!", "^")
    body = body[1:] if negated else body
    parts = re.split(r"(\[:\w+:\])", body)
    out = "".join(_CLASSES.get(p[2:-2], "") if p.startswith("[:") else _set(p) for p in parts)
    try:
        re.compile("[" + out + "]")
    except re.error:  # an empty set, a range that runs backwards: nothing matches
        return "(?!)", end + 1
    return ("[^" if negated else "[") + out + "]", end + 1


def _closing(text: str, start: int) -> int:
    i = start + (text[start : start + 1] in ("!", "^"))
    i += text[i : i + 1] == "]"  # a `]` that comes first is one of the set
    while i < len(text) and text[i] != "]":
        i = text.find(":]", i) + 2 if text.startswith("[:", i) and ":]" in text[i:] else i + 1
    return i if i < len(text) else -1


def _set(text: str) -> str:
    return re.sub(r"([\[\]^&~|\\])", r"\\\1", literal(text))
