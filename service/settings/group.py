"""What every group of knobs is."""

from pydantic import BaseModel, ConfigDict

from service.settings.environment import variable


def exclusive(group: str, first: str, second: str) -> ValueError:
    """Two variables were given for one thing."""
    return ValueError(f"{variable(group, first)} and {variable(group, second)} exclude each other")


class Group(BaseModel):
    """A group of knobs."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
