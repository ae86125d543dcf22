"""What one SMS holds: 160 signs of its own alphabet, or 70 of all others. Pure."""

_ALPHABET = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# They take the room of two.
_EXTENDED = frozenset("^{}\\[~]|€")
_MOST, _MOST_OF_ALL_OTHERS = 160, 70
_CUT = "..."


def fitting(text: str) -> str:
    """The text, cut off where one SMS does not hold it."""
    most = _MOST if set(text) <= _ALPHABET | _EXTENDED else _MOST_OF_ALL_OTHERS
    if _room(text) <= most:
        return text
    while _room(text) > most - len(_CUT):
        text = text[:-1]
    return text + _CUT


def _room(text: str) -> int:
    if set(text) <= _ALPHABET | _EXTENDED:
        return len(text) + sum(sign in _EXTENDED for sign in text)
    return len(text.encode("utf-16-le", "replace")) // 2
