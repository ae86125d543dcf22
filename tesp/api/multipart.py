"""The file in a multipart body, as it comes in: nothing is kept, in memory or on a disk."""

from collections import deque
from collections.abc import AsyncIterator
from email.message import Message

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from tesp.errors import StagingError, TransferFailed

_FIELD = "file"


class _FilePart:
    """What the parser tells of the first part that is named `file`."""

    def __init__(self) -> None:
        self.pieces: deque[bytes] = deque()
        self.begun = self.ended = False
        self._within = False
        self._name, self._value, self._disposition = b"", b"", b""

    def on_part_begin(self) -> None:
        """Another part."""
        self._disposition = b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """More of a header's name."""
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """More of a header's value."""
        self._value += data[start:end]

    def on_header_end(self) -> None:
        """One header is whole."""
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name, self._value = b"", b""

    def on_headers_finished(self) -> None:
        """What follows is the part's data."""
        _, options = parse_options_header(self._disposition)
        self._within = not self.begun and options.get(b"name") == _FIELD.encode()
        self.begun = self.begun or self._within

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """More data."""
        if self._within:
            self.pieces.append(data[start:end])

    def on_part_end(self) -> None:
        """The part is whole: its end has been seen."""
        self.ended = self.ended or self._within
        self._within = False


async def file_in(content_type: str, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The bytes of the field `file`; raises where the body is not what it says, or not whole."""
    part = _FilePart()
    parser = _parser(content_type, part)
    async for chunk in body:
        try:
            parser.write(chunk)
        except FormParserError as error:
            raise StagingError("The body is no multipart form.") from error
        while part.pieces:
            yield part.pieces.popleft()
    if not part.begun:
        raise StagingError(f"The form has no field `{_FIELD}`.")
    if not part.ended:
        raise TransferFailed("The body ended before the file did.")


def _parser(content_type: str, part: _FilePart) -> MultipartParser:
    headers = Message()
    headers["Content-Type"] = content_type
    boundary = headers.get_boundary()
    if headers.get_content_type() != "multipart/form-data" or not boundary:
        raise StagingError("A multipart form with a boundary is needed.")
    try:
        return MultipartParser(
            boundary,
            {
                "on_part_begin": part.on_part_begin,
                "on_header_field": part.on_header_field,
                "on_header_value": part.on_header_value,
                "on_header_end": part.on_header_end,
                "on_headers_finished": part.on_headers_finished,
                "on_part_data": part.on_part_data,
                "on_part_end": part.on_part_end,
            },
        )
    except FormParserError as error:
        raise StagingError("The boundary of the form is too long.") from error
