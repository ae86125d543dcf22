"""Where and how containers run on this machine, and how they are started anywhere."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from tesp.settings.quantities import Gigabytes
from tesp.settings.section import Section, told_apart
from tesp.settings.urls import host_and_port


class LocalSettings(Section):
    """The local backend: containers on this machine."""

    enabled: bool | None = Field(None, description="Default: only where no Pulsar is configured")
    runtime: Literal["auto", "docker", "podman", "apptainer", "singularity", "sandbox"] = "auto"
    allow_sandbox: bool = Field(
        False, description="With runtime = auto: take the sandbox where there is no engine"
    )
    slots: int = Field(default_factory=lambda: 2 * (os.cpu_count() or 1), ge=0)
    cpus: float = Field(default_factory=lambda: float(os.cpu_count() or 1), gt=0)
    ram_gb: Gigabytes = Field(
        default_factory=lambda: os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    )
    python: str | None = Field(None, description="Interpreter of the runner; default: our own")
    machine_id: str | None = Field(None, description="Default: /etc/machine-id or the host name")


class RegistrySettings(Section):
    """Credentials for one image registry."""

    host: str
    username: str = Field(min_length=1)
    password: SecretStr = Field(min_length=1)

    @field_validator("host")
    @classmethod
    def _is_named_by_images(cls, host: str) -> str:
        """Images name no other: what has neither a dot nor a port is a part of a path."""
        if host != "localhost" and not {".", ":"}.intersection(host):
            raise ValueError("this is no registry such as registry.example or docker.io")
        return host_and_port(host)


class ContainerSettings(Section):
    """How containers are started, on every backend that has no say of its own."""

    user: str | None = Field(None, description="uid:gid for containers; default: the image's own")
    network: str | None = None
    docker_host: str | None = Field(None, description="DOCKER_HOST of the engine")
    image_cache: Path | None = None
    sandbox_paths: tuple[Path, ...] = Field(
        (), description="Software trees that the sandbox shows read-only, their bin first on PATH"
    )
    registries: tuple[RegistrySettings, ...] = ()

    @field_validator("registries")
    @classmethod
    def _are_told_apart(
        cls, registries: tuple[RegistrySettings, ...]
    ) -> tuple[RegistrySettings, ...]:
        return told_apart(registries, lambda one: f"for the host {one.host}")

    @field_validator("sandbox_paths")
    @classmethod
    def _are_trees(cls, paths: tuple[Path, ...]) -> tuple[Path, ...]:
        for path in paths:
            if not path.is_absolute() or ".." in path.parts or len(path.parts) == 1:
                raise ValueError(f"{path} is no absolute path of a directory below /")
        return paths
