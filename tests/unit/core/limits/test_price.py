"""What a result costs."""

import pytest

from service.contract.outcome import Usage
from service.core.limits.price import Price, cost_of


@pytest.mark.parametrize(
    ("usage", "price", "cost"),
    [
        (Usage(billed_seconds=100), Price(per_second=0.5), 50.0),
        (Usage(), Price(per_second=0.5), 0.0),
        (
            Usage(billed_seconds=9, input_tokens=10, output_tokens=2),
            Price(per_input_token=1.0, per_output_token=4.0),
            18.0,
        ),
    ],
)
def test_seconds_and_tokens_cost_what_was_set(usage: Usage, price: Price, cost: float) -> None:
    assert cost_of(usage, price) == cost
