"""Outcomes as a service without faults would deliver them, for tests of the oracle."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from tests.chaos.evidence import Delivery
from tests.chaos.load import RESULT, File


def results_of(files: Iterable[File]) -> list[Delivery]:
    """A result for each file, in their order."""
    return summed([Delivery(file.id, RESULT, file.text) for file in files])


def summed(deliveries: Iterable[Delivery]) -> list[Delivery]:
    """The same, and the last of each request tells how it ended."""
    made = [replace(each, ended=None) for each in deliveries]
    requests: dict[str, list[int]] = defaultdict(list)
    for number, delivery in enumerate(made):
        requests[delivery.id.rpartition("/")[0]].append(number)
    for numbers in requests.values():
        succeeded = sum(made[number].code == RESULT for number in numbers)
        last = numbers[-1]
        made[last] = replace(made[last], ended=(succeeded, len(numbers) - succeeded))
    return made
