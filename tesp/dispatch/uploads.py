"""Which file of a workspace goes to which URL. Pure."""

import posixpath
from collections.abc import Sequence

from tesp.runner.plan import Found
from tesp.staging import Upload
from tesp.staging.urls import below
from tesp.tes.braces import base_of
from tesp.tes.models import Output, OutputFileLog


def uploads_of(outputs: Sequence[Output], found: Sequence[Found]) -> list[Upload]:
    """One upload for each file found."""
    return [
        Upload(f.file, url_of(outputs[f.output], f.name), f.path, f.size, f"outputs[{f.output}]")
        for f in found
    ]


def url_of(output: Output, name: str) -> str:
    """A directory's or a wildcard's files, which have names, go below its URL; so does a file
    whose URL ends in `/`, under its own name."""
    if name:
        named = base_of(output.path, output.url)
        return below(named[1] if named else output.url, name)
    if output.url.endswith("/"):
        return below(output.url, posixpath.basename(output.path.rstrip("/")))
    return output.url


def output_log(upload: Upload) -> OutputFileLog:
    """What the task's log says of a file that was sent out."""
    return OutputFileLog(url=upload.url, path=upload.path, size_bytes=str(upload.size))
