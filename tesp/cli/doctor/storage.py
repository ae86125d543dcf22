"""The storage that tasks may name: file roots, S3 buckets, HTTP and FTP hosts."""

import asyncio
import contextlib
import os
import uuid
from collections.abc import Sequence
from urllib.parse import urlsplit

import aioftp

from tesp.cli.doctor.findings import Finding, fail, ok, warn
from tesp.cli.doctor.store import writable_finding
from tesp.errors import AccessRefused, SourceMissing, StagingError
from tesp.settings import FileRoot, HostAccess, S3Access, Settings
from tesp.settings.urls import is_loopback
from tesp.staging.s3 import S3Storage

_ANSWER_SECONDS = 15.0
_HTTP_PORTS = (443, 80)
_FTP_PORT = 21
_UNREACHABLE = "Check the host, its port and the firewall between."


async def storage_findings(settings: Settings) -> Sequence[Finding]:
    """Every storage of the settings, looked at at once."""
    staging = settings.staging
    roots = [root_finding(root, settings) for root in staging.files]
    asked = await asyncio.gather(
        *(s3_finding(access) for access in staging.s3),
        *(http_finding(access) for access in staging.http),
        *(ftp_finding(access) for access in staging.ftp),
    )
    return [*roots, *asked]


def root_finding(root: FileRoot, settings: Settings) -> Finding:
    """Whether a file root is there, and writable where it is to be."""
    what = f"files {root.path}"
    if not root.path.is_dir() and not root.path.is_relative_to(settings.data_dir):
        return fail(what, "not a directory", "Make it, or mend staging.files.")
    if root.writable:
        return writable_finding(what, root.path)
    if not os.access(root.path, os.R_OK | os.X_OK):
        return fail(what, "not readable", "Let this user read it, or mend staging.files.")
    return ok(what, "read-only" + (", shared" if root.shared else ""))


async def s3_finding(access: S3Access) -> Finding:
    """Whether the endpoint answers and takes the credentials, and whether the bucket is there."""
    what = f"s3 {access.bucket} at {access.endpoint or f'AWS {access.region}'}"
    anyone = access.bucket == "*"
    # Of a bucket that nobody has, a server says that it is missing only to those it knows.
    bucket = f"tesp-doctor-{uuid.uuid4().hex}" if anyone else access.bucket
    try:
        await _open_something(access, bucket)
    except SourceMissing as error:
        if not anyone and "NoSuchBucket" in str(error.__cause__):
            return fail(what, "no such bucket", "Make the bucket, or mend staging.s3.")
    except AccessRefused as error:
        return _refused(what, str(error.__cause__))
    except StagingError as error:
        found = str(error).rpartition(": ")[2]
        return _unreachable(what, found, urlsplit(access.endpoint or "").hostname or "")
    return ok(what, "reachable with these credentials")


def _refused(what: str, answer: str) -> Finding:
    """Wrong keys, or right ones that may not read: a bucket may be there only to be written."""
    if "AccessDenied" in answer:
        mend = "Where tasks are to read from it, give these keys the right to."
        return warn(what, "the keys have no right to read there", mend)
    mend = "Mend access_key and secret_key of this entry of staging.s3."
    return fail(what, "the credentials are refused", mend)


async def _open_something(access: S3Access, bucket: str) -> None:
    only = access.model_copy(update={"bucket": bucket})
    storage = S3Storage((only,), timeout_seconds=_ANSWER_SECONDS, tries=1)
    try:
        async with storage.open(f"s3://{bucket}/tesp-doctor-looks"):
            pass
    finally:
        await storage.close()


async def http_finding(access: HostAccess) -> Finding:
    """Whether the host can be connected to; what its credentials open, only a URL shows."""
    what = f"http {access.host}"
    host, port = _host_port(access.host)
    reason = ""
    for candidate in (port,) if port else _HTTP_PORTS:
        try:
            await _connect(host, candidate)
        except OSError as error:
            reason = error.strerror or str(error) or "no answer"
        else:
            return ok(what, f"reachable on port {candidate}")
    return _unreachable(what, reason, host)


async def ftp_finding(access: HostAccess) -> Finding:
    """Whether the host takes the user and the password."""
    what = f"ftp {access.host}"
    host, port = _host_port(access.host)
    user = access.username or "anonymous"
    password = access.password.get_secret_value() if access.password else "anon@"
    client = aioftp.Client(connection_timeout=_ANSWER_SECONDS, socket_timeout=_ANSWER_SECONDS)
    try:
        await client.connect(host, port or _FTP_PORT)
        await client.login(user, password)
    except aioftp.StatusCodeError:
        mend = "Mend username and password of this entry of staging.ftp."
        return fail(what, f"the login of {user} is refused", mend)
    except (OSError, aioftp.AIOFTPException) as error:
        return _unreachable(what, str(error) or "no answer", host)
    finally:
        client.close()
    return ok(what, f"reachable as {user}")


def _unreachable(what: str, found: str, host: str) -> Finding:
    """A server of this very machine may just not have been started yet."""
    if is_loopback(host):
        return warn(what, found, "Start that server before a task names it.")
    return fail(what, found, _UNREACHABLE)


def _host_port(host: str) -> tuple[str, int | None]:
    parts = urlsplit(f"//{host}")
    return parts.hostname or host, parts.port


async def _connect(host: str, port: int) -> None:
    async with asyncio.timeout(_ANSWER_SECONDS):
        _, writer = await asyncio.open_connection(host, port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
