"""Agents of people: where each is found, when they speak over plain TCP."""

from collections.abc import Mapping

from pydantic import Field, SecretStr, field_validator

from tesp.settings.section import Section

_LONGEST_NAME = 64


class AgentSettings(Section):
    """The addresses of agents, and what they show each other."""

    addresses: Mapping[str, str] = Field({}, description="name = host:port")
    secret: SecretStr | None = Field(
        None, min_length=8, description="In every message; needed beyond loopback"
    )

    @field_validator("addresses")
    @classmethod
    def _are_addresses(cls, addresses: Mapping[str, str]) -> Mapping[str, str]:
        for name, address in addresses.items():
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65536:
                raise ValueError(f"{name} = {address}: this is no host:port")
            if (
                not name.isprintable()
                or set("+#/.* ").intersection(name)
                or not (0 < len(name) <= _LONGEST_NAME)
            ):
                raise ValueError(f"{name!r} is no name of an agent: no space, +, #, /, . or *")
        return addresses
