"""What a result costs, by the prices that the operator has set: per second of audio, or per token."""

from dataclasses import dataclass

from service.contract.outcome import Usage


@dataclass(frozen=True, slots=True)
class Price:
    """A model's price in one currency; either the second counts, or the tokens do."""

    per_second: float = 0.0
    per_input_token: float = 0.0
    per_output_token: float = 0.0


def cost_of(usage: Usage, price: Price) -> float:
    """The cost of what the provider bills; what it does not tell costs nothing here."""
    return (
        (usage.billed_seconds or 0) * price.per_second
        + (usage.input_tokens or 0) * price.per_input_token
        + (usage.output_tokens or 0) * price.per_output_token
    )
