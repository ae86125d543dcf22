"""Regular expressions whose time is bounded by the length of the text, whatever they say."""

from pydantic_core import SchemaError, SchemaValidator, core_schema


class Pattern:
    """One of Rust's: no look-around, no references back, no exponential time."""

    def __init__(self, text: str) -> None:
        """Raises ValueError, with what is wrong."""
        try:
            self._matcher = SchemaValidator(
                core_schema.str_schema(pattern=text, regex_engine="rust-regex")
            )
        except SchemaError as error:
            why = str(error).strip().splitlines()[-1].removeprefix("error: ")
            raise ValueError(f"{text!r} is no pattern that can be used here: {why}") from None

    def finds(self, text: str) -> bool:
        """Whether it matches anywhere in the text; `^` and `$` tie it to the ends."""
        return self._matcher.isinstance_python(text)
