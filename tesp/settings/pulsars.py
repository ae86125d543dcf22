"""The Pulsars, and which tasks go to which."""

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from tesp.settings import urls
from tesp.settings.quantities import Gigabytes, Patience, Seconds
from tesp.settings.section import Section

# What submit_params may ask to be filled in.
SUBMIT_MARKS = ("{cpus}", "{ram_gb}", "{ram_mb}")
_MARK = re.compile(r"\{[^{}]*\}")
_MANAGER = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"


class PulsarLimits(Section):
    """What all tasks on one Pulsar may use together. Pulsar itself holds nobody to anything."""

    tasks: int = Field(16, ge=0, description="Tasks at once")
    cpus: float | None = Field(None, gt=0)
    ram_gb: Gigabytes | None = None


class SizeClass(Section):
    """A manager of a Pulsar for tasks of up to this size."""

    manager: str = Field(pattern=_MANAGER)
    cpus: float = Field(gt=0)
    ram_gb: Gigabytes


class PulsarSettings(Section):
    """One Pulsar: reached over REST (`url`), over AMQP (`amqp_url`), or both (jobs go over AMQP,
    files over REST)."""

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    url: str | None = None
    token: SecretStr | None = Field(None, description="Pulsar's private_token")
    amqp_url: SecretStr | None = None
    amqp_key_prefix: str | None = Field(None, description="As the Pulsar has it, where it has one")
    manager: str = Field("_default_", pattern=_MANAGER)
    classes: tuple[SizeClass, ...] = Field((), description="Managers by size, instead of manager")
    control_manager: str | None = Field(
        None,
        pattern=_MANAGER,
        description="Without REST: a manager that starts small jobs at once; default: manager",
    )
    runtime: Literal["docker", "podman", "apptainer", "singularity", "sandbox"] = "docker"
    program: str | None = Field(None, description="The runtime's program; default: its name")
    docker_host: str | None = Field(None, description="DOCKER_HOST on its nodes")
    user: str | None = Field(None, description="uid:gid for containers; default: containers.user")
    network: str | None = Field(None, description="Default: containers.network")
    image_cache: str | None = Field(
        None, description="A directory of its nodes for pulled images (apptainer, singularity)"
    )
    python: str = Field(
        "python3", min_length=1, description="Interpreter of the runner, Python 3.6 or newer"
    )
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
    poll_seconds: Seconds = Field(
        3.0, description="The longest pause between two looks at a job that runs for long"
    )
    give_up_seconds: Patience = Field(
        86400.0, description="Out of reach for so long, its running tasks are given up"
    )

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        return url and urls.http_url(url)

    @field_validator("amqp_url")
    @classmethod
    def _is_a_broker(cls, url: SecretStr | None) -> SecretStr | None:
        return url and SecretStr(urls.amqp_url(url.get_secret_value()))

    @field_validator("submit_params")
    @classmethod
    def _can_be_filled_in(cls, params: Mapping[str, str]) -> Mapping[str, str]:
        for name, template in params.items():
            unknown = [m for m in _MARK.findall(template) if m not in SUBMIT_MARKS]
            if unknown:
                known = ", ".join(SUBMIT_MARKS)
                raise ValueError(f"{name}: nothing fills in {unknown[0]}; there are {known}")
        return params

    @model_validator(mode="after")
    def _can_be_reached(self) -> "PulsarSettings":
        if not (self.url or self.amqp_url):
            raise ValueError("a Pulsar needs a url, an amqp_url, or both")
        return self

    @model_validator(mode="after")
    def _has_one_way_to_its_managers(self) -> "PulsarSettings":
        managers = [c.manager for c in self.classes]
        if self.classes and "manager" in self.model_fields_set:
            raise ValueError("manager and classes are both set: each class names its own manager")
        if len(set(managers)) < len(managers):
            raise ValueError("two classes name the same manager")
        return self

    @model_validator(mode="after")
    def _can_choose_its_managers(self) -> "PulsarSettings":
        # With a prefix of its own all managers of a Pulsar take from the same queues.
        if self.amqp_key_prefix and (self.classes or self.control_manager):
            raise ValueError(
                "with an amqp_key_prefix any manager takes any job: remove classes and "
                "control_manager, or the prefix"
            )
        return self

    @property
    def needs_our_files(self) -> bool:
        """Whether it, or its nodes, fetch from this service and send to it."""
        return self.staging == "node" or not self.url


class RouteSettings(Section):
    """Tasks with a tag (of this value, where one is given) run on these Pulsars alone."""

    tag: str = Field(min_length=1)
    value: str | None = None
    pulsars: tuple[str, ...] = Field(min_length=1)
