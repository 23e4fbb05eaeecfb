"""The cost of a result at the operator's prices: per second of audio, or per token."""

from service.contract.outcome import Usage
from service.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Price:
    """A model's price in one currency, per second or per token."""

    per_second: float = 0.0
    per_input_token: float = 0.0
    per_output_token: float = 0.0


def cost_of(usage: Usage, price: Price) -> float:
    """The cost of the billed usage.

    Usage that the provider does not report costs nothing here.
    """
    return (
        (usage.billed_seconds or 0) * price.per_second
        + (usage.input_tokens or 0) * price.per_input_token
        + (usage.output_tokens or 0) * price.per_output_token
    )
