"""What every group of knobs is."""

from pydantic import BaseModel, ConfigDict

from service.settings.environment import variable


def exclusive(group: str, secret: str) -> ValueError:
    """A secret was given both ways."""
    return ValueError(f"{variable(group, secret)} and {variable(group, secret + '_file')} exclude each other")


class Group(BaseModel):
    """A group of knobs."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
