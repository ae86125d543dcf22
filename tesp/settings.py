"""Settings: typed, frozen, read once from settings.toml and TESP_* variables.

Sections of settings.toml inherit `[default]`; TESP_ENV chooses one. A variable overrides a
key by its path: `TESP_STORE__MONGODB_URI`. An unknown key stops the start, with the nearest
right one named.
"""

import difflib
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from tesp.errors import SettingsError
from tesp.tes import paths

# TESP_ variables that are no settings: where to look, and what the command line speaks with.
_OTHER_VARIABLES = frozenset(
    f"TESP_{n}" for n in ("ENV", "SETTINGS", "URL", "TOKEN", "USER", "PASSWORD")
)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoreSettings(_Section):
    """Where tasks are kept: `sqlite` under data_dir, or `mongodb` at mongodb_uri."""

    kind: Literal["sqlite", "mongodb"] = "sqlite"
    mongodb_uri: SecretStr = SecretStr("mongodb://127.0.0.1:27017")
    database: str = "tesp"


class ServerSettings(_Section):
    """Where the API listens, and what it says of itself."""

    host: str = "127.0.0.1"
    port: int = 8000
    allow_open: bool = Field(
        False, description="Listen beyond loopback although requests are not authenticated"
    )
    service_id: str = "org.tesp.local"
    name: str = "tesp"
    organization_name: str = "tesp"
    organization_url: str = "https://tesp.example"
    legacy_states: bool = Field(
        True, description="On /v1 show CANCELING as RUNNING and PREEMPTED as SYSTEM_ERROR"
    )
    contact_url: str | None = Field(None, description="A mailto: or https: URL for service-info")
    documentation_url: str | None = None
    environment: str | None = Field(None, description="Such as `production`, for service-info")
    public_url: str | None = Field(
        None, description="Where Pulsars and nodes reach this API; default: http://host:port"
    )
    cors_origins: tuple[str, ...] = Field(
        (), description='Origins whose web pages may call the API; "*" for all'
    )


class DispatchSettings(_Section):
    """How the dispatcher takes and keeps tasks."""

    lease_seconds: float = 30.0
    max_retries: int = Field(10, description="The most that backend_parameters.max_retries may ask")
    retry_delay_seconds: float = 1.0
    transfers: int = Field(4, description="Transfers at once, over all tasks")


class LocalSettings(_Section):
    """The local backend: containers on this machine."""

    enabled: bool = True
    runtime: Literal["auto", "docker", "podman", "apptainer", "singularity", "sandbox"] = "auto"
    allow_sandbox: bool = Field(
        False, description="With runtime = auto: take the sandbox where there is no engine"
    )
    slots: int = Field(default_factory=lambda: 2 * (os.cpu_count() or 1), ge=0)
    cpus: float = Field(default_factory=lambda: float(os.cpu_count() or 1), gt=0)
    ram_gb: float = Field(
        default_factory=lambda: os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        gt=0,
    )
    python: str | None = Field(None, description="Interpreter of the runner; default: our own")
    machine_id: str | None = Field(None, description="Default: /etc/machine-id or the host name")


class PulsarLimits(_Section):
    """What all tasks on one Pulsar may use together. Pulsar itself holds nobody to anything."""

    tasks: int = Field(16, ge=0, description="Tasks at once")
    cpus: float | None = Field(None, gt=0)
    ram_gb: float | None = Field(None, gt=0)


class SizeClass(_Section):
    """A manager of a Pulsar for tasks of up to this size."""

    manager: str
    cpus: float = Field(gt=0)
    ram_gb: float = Field(gt=0)


class PulsarSettings(_Section):
    """One Pulsar: reached over REST (`url`), over AMQP (`amqp_url`), or both (jobs go over AMQP,
    files over REST)."""

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    url: str | None = None
    token: SecretStr | None = Field(None, description="Pulsar's private_token")
    amqp_url: SecretStr | None = None
    amqp_key_prefix: str | None = Field(None, description="As the Pulsar has it, where it has one")
    manager: str = "_default_"
    classes: tuple[SizeClass, ...] = Field((), description="Managers by size, instead of manager")
    control_manager: str | None = Field(
        None, description="Without REST: a manager that starts small jobs at once; default: manager"
    )
    runtime: Literal["docker", "podman", "apptainer", "singularity", "sandbox"] = "docker"
    program: str | None = Field(None, description="The runtime's program; default: its name")
    docker_host: str | None = Field(None, description="DOCKER_HOST on its nodes")
    user: str | None = Field(None, description="uid:gid for containers; default: containers.user")
    network: str | None = Field(None, description="Default: containers.network")
    python: str = Field("python3", description="Interpreter of the runner, Python 3.6 or newer")
    zones: tuple[str, ...] = ()
    preemptible: bool | Literal["only"] = Field(
        True, description="Whether it takes preemptible tasks, or takes nothing else"
    )
    limits: PulsarLimits = PulsarLimits()
    submit_params: Mapping[str, str] = Field(
        {}, description="Pulsar's submit_params; {cpus}, {ram_gb} and {ram_mb} are filled in"
    )
    staging: Literal["dispatcher", "node"] = Field(
        "dispatcher", description="Who moves the files: this service, or the job on its node"
    )
    shares_files: bool = Field(False, description="Its nodes see the shared staging.files")
    give_up_seconds: float = Field(
        86400.0, gt=0, description="Out of reach for so long, its running tasks are given up"
    )

    @model_validator(mode="after")
    def _can_be_reached(self) -> "PulsarSettings":
        if not (self.url or self.amqp_url):
            raise ValueError("a Pulsar needs a url, an amqp_url, or both")
        return self


class RouteSettings(_Section):
    """Tasks with a tag (of this value, where one is given) run on these Pulsars alone."""

    tag: str
    value: str | None = None
    pulsars: tuple[str, ...] = Field(min_length=1)


class RegistrySettings(_Section):
    """Credentials for one image registry."""

    host: str
    username: str
    password: SecretStr


class ContainerSettings(_Section):
    """How containers are started, on every backend that has no say of its own."""

    user: str | None = Field(None, description="uid:gid for containers; default: the image's own")
    network: str | None = None
    docker_host: str | None = Field(None, description="DOCKER_HOST of the engine")
    image_cache: Path | None = None
    sandbox_paths: tuple[Path, ...] = Field(
        (), description="Software trees that the sandbox shows read-only, their bin first on PATH"
    )
    registries: tuple[RegistrySettings, ...] = ()

    @field_validator("sandbox_paths")
    @classmethod
    def _are_trees(cls, paths: tuple[Path, ...]) -> tuple[Path, ...]:
        for path in paths:
            if not path.is_absolute() or ".." in path.parts or len(path.parts) == 1:
                raise ValueError(f"{path} is no absolute path of a directory below /")
        return paths


class FileRoot(_Section):
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


class S3Access(_Section):
    """An S3 endpoint and its credentials, for one bucket, or for all others (bucket = "*")."""

    bucket: str = "*"
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    session_token: SecretStr | None = None


class HostAccess(_Section):
    """Credentials for one HTTP or FTP host (`host` or `host:port`)."""

    host: str
    username: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None


class StagingSettings(_Section):
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


class LoggingSettings(_Section):
    """What goes to standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    output_json: bool = False


class Settings(_Section):
    """All settings of one process."""

    data_dir: Path = Path("data")
    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    dispatch: DispatchSettings = DispatchSettings()
    local: LocalSettings = Field(default_factory=LocalSettings)
    pulsars: tuple[PulsarSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()
    containers: ContainerSettings = ContainerSettings()
    staging: StagingSettings = StagingSettings()
    logging: LoggingSettings = LoggingSettings()

    def machine_id(self) -> str:
        """What tells this machine from others that share the store."""
        if self.local.machine_id:
            return self.local.machine_id
        known = Path("/etc/machine-id")
        return (known.read_text().strip() if known.exists() else "") or platform.node()


def load(file: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read settings; raises SettingsError that names every wrong key and its mend."""
    return parse(_read(file, os.environ if environ is None else environ))


def parse(data: Mapping[str, Any]) -> Settings:
    """Check a mapping as it stands in settings.toml."""
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(e) for e in error.errors())) from None


def _read(file: Path | None, environ: Mapping[str, str]) -> dict[str, Any]:
    from dynaconf import Dynaconf

    source = Dynaconf(
        envvar_prefix=False,
        environments=True,
        env=environ.get("TESP_ENV", "default"),
        # Absolute: dynaconf looks for a relative file in places of its own.
        settings_files=[str(file.absolute())] if file else [],
        core_loaders=["TOML"],
        loaders=[],
    )
    data = {k.lower(): _plain(v) for k, v in source.as_dict().items()}
    for name, value in environ.items():
        if name.startswith("TESP_") and name not in _OTHER_VARIABLES:
            _put(data, name.removeprefix("TESP_").lower().split("__"), value)
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k.lower(): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value


def _put(data: dict[str, Any], path: list[str], value: str) -> None:
    from dynaconf.utils.parse_conf import parse_conf_data

    for part in path[:-1]:
        data = data.setdefault(part, {})
    data[path[-1]] = parse_conf_data(value, tomlfy=True)


def _sentence(error: Any) -> str:
    where = ".".join(str(p) for p in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{where}: {error['msg']}"
    near = difflib.get_close_matches(str(error["loc"][-1]), _keys(error["loc"][:-1]), 1, 0.4)
    return f"{where}: no such setting" + (f"; did you mean {near[0]}?" if near else "")


def _keys(path: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in path:
        if isinstance(part, str):
            kind = model.model_fields[part].annotation
            model = next((a for a in get_args(kind) if isinstance(a, type)), kind)  # type: ignore[assignment]
    return list(model.model_fields)
