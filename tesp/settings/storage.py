"""The storage that tasks may name."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator, model_validator

from tesp.settings.section import Section
from tesp.tes import paths


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

    bucket: str = "*"
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    session_token: SecretStr | None = None
    nodes_reach_it: bool = Field(
        False, description="Nodes of Pulsars read and write it themselves, by presigned URLs"
    )


class HostAccess(Section):
    """Credentials for one HTTP or FTP host (`host` or `host:port`)."""

    host: str
    username: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None


class StagingSettings(Section):
    """What the server may read and write for its tasks."""

    files: tuple[FileRoot, ...] = ()
    s3: tuple[S3Access, ...] = ()
    http: tuple[HostAccess, ...] = ()
    ftp: tuple[HostAccess, ...] = ()
    tries: int = Field(5, ge=1)
    timeout_seconds: float = Field(60.0, gt=0, description="Silence after which a peer is dead")

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
        return roots
