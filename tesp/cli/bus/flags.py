"""Flags as Tael's own programs take them: `--attr KEY VALUE`, `--envreq KEY KEY`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from typer.core import TyperCommand

if TYPE_CHECKING:
    from typer._click.core import Context

# No argument of a program holds this sign.
PAIR = "\0"
_PAIRS = ("--attr",)
_LISTS = ("--envreq", "--payload-passthrough")


class TaelCommand(TyperCommand):
    """A command whose flags may have several values."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Bring the values into the form that the library knows."""
        return super().parse_args(ctx, single(args))


def single(args: Sequence[str]) -> list[str]:
    """The same with one value a flag; pairs are joined."""
    given, left = list[str](), list(args)
    while left:
        word = left.pop(0)
        if word in _PAIRS and len(left) > 1:
            given.append(f"{word}={left.pop(0)}{PAIR}{left.pop(0)}")
        elif word in _LISTS and left:
            given.append(f"{word}={left.pop(0)}")
            while left and not left[0].startswith("-"):
                given.append(f"{word}={left.pop(0)}")
        else:
            given.append(word)
    return given
