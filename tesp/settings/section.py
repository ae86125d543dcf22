"""What every part of the settings is."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Frozen values; a key that it does not have is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
