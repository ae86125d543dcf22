"""The storage that tasks may name."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator, model_validator

from tesp.settings.quantities import Seconds
from tesp.settings.section import Section, told_apart
from tesp.settings.urls import host_and_port, http_url
from tesp.tes import paths

_MOST_TRIES = 1000


class FileRoot(Section):
    """A directory that file:// URLs may reach. `shared`: the machines that run tasks see it at
    the same path, and tasks see it in place: it is bound, never copied."""

    path: Path
    writable: bool = True
    shared: bool = False

    @model_validator(mode="after")
    def _can_be_bound(self) -> "FileRoot":
        if not self.shared:
            return self
        if not self.path.is_absolute() or ".." in self.path.parts:
            raise ValueError(f"{self.path} is shared and no absolute path")
        if message := paths.reserved(paths.parts(str(self.path))):
            raise ValueError(f"{self.path} cannot be shared: it {message}")
        return self


class S3Access(Section):
    """An S3 endpoint and its credentials, for one bucket, or for all others (bucket = "*")."""

    bucket: str = Field("*", min_length=1)
    endpoint: str | None = None
    region: str = Field("us-east-1", min_length=1)
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    session_token: SecretStr | None = None
    nodes_reach_it: bool = Field(
        False, description="Nodes of Pulsars read and write it themselves, by presigned URLs"
    )

    @field_validator("bucket")
    @classmethod
    def _is_a_name(cls, bucket: str) -> str:
        if {"/", ":", "@", " "}.intersection(bucket):
            raise ValueError("this is no bucket's name alone, or * for all others")
        return bucket

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, endpoint: str | None) -> str | None:
        return endpoint and http_url(endpoint)

    @model_validator(mode="after")
    def _can_be_signed_with(self) -> "S3Access":
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key and secret_key go together")
        if self.session_token is not None and self.access_key is None:
            raise ValueError("session_token needs access_key and secret_key")
        return self


class HostAccess(Section):
    """Credentials for one HTTP or FTP host (`host` or `host:port`)."""

    host: str
    username: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None

    @field_validator("host")
    @classmethod
    def _can_be_reached(cls, host: str) -> str:
        return host_and_port(host)

    @model_validator(mode="after")
    def _can_be_sent(self) -> "HostAccess":
        if (self.username is None) != (self.password is None):
            raise ValueError('username and password go together: say "" where there is none')
        if self.token is not None and self.username is not None:
            raise ValueError("token and username are both set: only one of them can be sent")
        return self


class StagingSettings(Section):
    """What the server may read and write for its tasks."""

    files: tuple[FileRoot, ...] = ()
    s3: tuple[S3Access, ...] = ()
    http: tuple[HostAccess, ...] = ()
    ftp: tuple[HostAccess, ...] = ()
    tries: int = Field(5, ge=1, le=_MOST_TRIES)
    timeout_seconds: Seconds = Field(60.0, description="Silence after which a peer is dead")

    @field_validator("files")
    @classmethod
    def _keep_their_promises(cls, roots: tuple[FileRoot, ...]) -> tuple[FileRoot, ...]:
        for outer in (root for root in roots if root.shared):
            for inner in roots:
                inside = outer.path in inner.path.parents
                if inside and (inner.shared, inner.writable) != (True, outer.writable):
                    raise ValueError(
                        f"tasks see all of the shared {outer.path}: what lies in it, as "
                        f"{inner.path} does, must be shared and as writable"
                    )
        return told_apart(roots, lambda root: f"at {root.path}")

    @field_validator("s3")
    @classmethod
    def _have_buckets_of_their_own(cls, access: tuple[S3Access, ...]) -> tuple[S3Access, ...]:
        return told_apart(access, lambda one: f"for the bucket {one.bucket}")

    @field_validator("http", "ftp")
    @classmethod
    def _have_hosts_of_their_own(cls, access: tuple[HostAccess, ...]) -> tuple[HostAccess, ...]:
        return told_apart(access, lambda one: f"for the host {one.host.lower()}")

    @field_validator("ftp")
    @classmethod
    def _have_what_ftp_knows(cls, access: tuple[HostAccess, ...]) -> tuple[HostAccess, ...]:
        for one in access:
            if one.token is not None:
                raise ValueError(f"{one.host}: FTP knows no token: set username and password")
        return access
