"""Values of labels from outside, each made one of a closed set."""

from collections.abc import Collection
from functools import lru_cache

from service.contract.model_table import MODELS
from service.contract.models import model_info
from service.observability.metric_definitions import OTHER

REMEMBERED = 256
"""Names of models; requests may name any snapshot of one."""


def among(value: str, foreseen: Collection[str]) -> str:
    """The value, or `other` if it is not among the known ones."""
    return value if value in foreseen else OTHER


@lru_cache(REMEMBERED)
def model_label(name: str) -> str:
    """The name of the model's row in the model table: snapshots without a row count as what they are of."""
    if name in MODELS:
        return name
    info = model_info(name)
    return next((listed for listed, row in MODELS.items() if row is info), OTHER)
