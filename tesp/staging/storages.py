"""All storages of one server, and which one a URL is for."""

import asyncio
from typing import Literal

from tesp.errors import UnsupportedUrl
from tesp.settings import StagingSettings
from tesp.staging import FileType, Place, Storage
from tesp.staging.file import FileStorage
from tesp.staging.ftp import FtpStorage
from tesp.staging.http import HttpStorage
from tesp.staging.s3 import S3Storage
from tesp.staging.shared import SharedFiles
from tesp.staging.urls import scheme, shown


class Storages:
    """The storages that the settings describe, by the schemes of their URLs."""

    def __init__(self, settings: StagingSettings) -> None:
        silence = settings.timeout_seconds
        self.tries = settings.tries
        files = FileStorage(settings.files)
        self.shared = SharedFiles(files)
        self._all: tuple[Storage, ...] = (
            files,
            HttpStorage(settings.http, silence),
            FtpStorage(settings.ftp, silence),
            S3Storage(settings.s3, silence, settings.tries),
        )
        self._of_scheme = {name: storage for storage in self._all for name in storage.schemes}

    def of(self, url: str) -> Storage:
        """The storage for this URL; UnsupportedUrl, with the schemes there are, where none is."""
        kind = scheme(url)
        if kind in self._of_scheme:
            return self._of_scheme[kind]
        known = ", ".join(sorted(f"{name}://" for name in self._of_scheme))
        what = f"{kind}:// is not supported" if kind else "a URL or an absolute path is needed"
        raise UnsupportedUrl(f"{shown(url)}: {what}; use one of {known}")

    def check(self, url: str, *, writing: bool, type: FileType | None = None) -> None:
        """Raise UnsupportedUrl, with the mend, where this URL can never work. No network."""
        storage = self.of(url)
        storage.check(url, writing=writing)
        if type == "DIRECTORY" and not writing and not storage.lists:
            raise UnsupportedUrl(
                f"{shown(url)}: a DIRECTORY cannot be read over {scheme(url)}, which has no "
                "listing; give each file an input of its own, or use s3, ftp or file"
            )

    async def presigned(self, url: str, method: Literal["GET", "PUT"]) -> str | None:
        """A URL that a node can use by itself for a while; None where the bytes go through us."""
        storage = self.of(url)
        return await storage.presigned(url, method) if isinstance(storage, S3Storage) else None

    def place(self, url: str) -> Place | None:
        """Where a URL lies in a shared root, if it does."""
        return self.shared.place(url) if scheme(url) == "file" else None

    def locations(self) -> list[str]:
        """URL prefixes to advertise in service-info."""
        return [location for storage in self._all for location in storage.locations()]

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(storage.close() for storage in self._all))
