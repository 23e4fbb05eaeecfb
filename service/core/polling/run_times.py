"""How long tasks take at the provider, by the vendor's own times, and what that says of those that run.

Per model, a histogram of the latest run times on a logarithmic scale, in memory only: after a restart the
first finished tasks fill it again. A little weight on every run time stands for what has not been seen.
"""

from bisect import bisect_right
from datetime import datetime
from itertools import accumulate, pairwise

from service.core.provider.answers import TaskView

LONGEST_MS = 2 * 24 * 3_600_000
"""Longer than any task is kept: a longer time is an error of the answer."""


def run_ms(task: TaskView) -> int | None:
    """Milliseconds from the submit to the end, waiting included.

    None if the answer does not say.
    """
    return between_ms(task.submit_time, task.end_time)


def between_ms(submit_time: str | None, end_time: str | None) -> int | None:
    """Milliseconds between two times of the vendor; None unless both are given and can be right.

    They have no zone, and both are in the same one (docs/provider.md, section 2).
    """
    if submit_time is None or end_time is None:
        return None
    try:
        took = datetime.fromisoformat(end_time) - datetime.fromisoformat(submit_time)
    except (ValueError, TypeError):
        return None
    took_ms = round(1000 * took.total_seconds())
    return took_ms if 0 <= took_ms <= LONGEST_MS else None


BINS_PER_DOUBLING = 8
"""Neighbouring bins differ by 9 %: finer than run times repeat."""
SHORTEST_MS = 500
"""The first bin begins at 0 and ends here."""
_COUNT = BINS_PER_DOUBLING * (LONGEST_MS // SHORTEST_MS).bit_length()
_EDGES = (0.0, *(SHORTEST_MS * 2 ** (number / BINS_PER_DOUBLING) for number in range(_COUNT)))
_WIDTHS = tuple(after - before for before, after in pairwise(_EDGES))
REMEMBERED = 1000
"""A run time weighs 1/e once so many others have followed it."""
UNSEEN_WEIGHT = 4.0
"""The weight of the run times that have not been seen, as that of so many tasks."""
MOST_MODELS = 64
"""More than the vendor has; names in requests are bounded by it."""
_RESCALE_AT = 1e100
"""Weights grow with each task; far below the largest float they are divided."""


class RunTimes:
    """The distribution of the run times of one model."""

    def __init__(self) -> None:
        self._weights = [0.0] * _COUNT
        self._weight = 1.0
        """Of the next run time: it grows, so that the earlier ones weigh less and less."""
        self._unfinished: list[float] = []
        """At each edge, the part of the tasks that run longer; empty until it is needed."""
        self._areas: list[float] = []
        """At each edge, the integral of `_unfinished` up to there."""

    def add(self, took_ms: int) -> None:
        """Learn the run time of a finished task."""
        self._weights[min(_COUNT, bisect_right(_EDGES, took_ms)) - 1] += self._weight
        self._weight *= 1 + 1 / REMEMBERED
        self._unfinished = []
        if self._weight > _RESCALE_AT:
            self._weights = [each / self._weight for each in self._weights]
            self._weight = 1.0

    def waited_ms(self, looked_at_ms: int, age_ms: int) -> float:
        """How long a task of this age is expected to have waited, finished, to be seen.

        It had not finished at the age of `looked_at_ms`; a task that has not finished yet waits for 0 ms.
        """
        looked_at_ms = max(0, looked_at_ms)
        if age_ms <= looked_at_ms:
            return 0.0
        if not self._unfinished:
            self._fit()
        unfinished, area = self._at(looked_at_ms)
        if unfinished == 0:
            return age_ms - looked_at_ms
        run_ms = (self._at(age_ms)[1] - area) / unfinished
        return max(0.0, age_ms - looked_at_ms - run_ms)

    def _fit(self) -> None:
        unseen = UNSEEN_WEIGHT * self._weight / _COUNT
        ended = [0.0, *accumulate(each + unseen for each in self._weights)]
        self._unfinished = [1 - each / ended[-1] for each in ended]
        parts = ((a + b) / 2 for a, b in pairwise(self._unfinished))
        self._areas = [0.0, *accumulate(w * part for w, part in zip(_WIDTHS, parts, strict=True))]

    def _at(self, age_ms: float) -> tuple[float, float]:
        """The part of the tasks that run longer, and the integral up to this age."""
        number = bisect_right(_EDGES, age_ms) - 1
        if number >= _COUNT:
            return 0.0, self._areas[-1]
        since_ms = age_ms - _EDGES[number]
        before, after = self._unfinished[number], self._unfinished[number + 1]
        unfinished = before + (after - before) * since_ms / _WIDTHS[number]
        return unfinished, self._areas[number] + since_ms * (before + unfinished) / 2


class ModelRunTimes:
    """The run times of the models that were used last."""

    def __init__(self) -> None:
        self._models: dict[str, RunTimes] = {}
        self._unknown = RunTimes()

    def __len__(self) -> int:
        return len(self._models)

    def add(self, model: str, took_ms: int) -> None:
        """Learn the run time of a finished task of the model."""
        times = self._models.pop(model, None) or RunTimes()
        times.add(took_ms)
        self._models[model] = times
        if len(self._models) > MOST_MODELS:
            del self._models[next(iter(self._models))]

    def of(self, model: str) -> RunTimes:
        """The run times of the model; those of any, if none is known."""
        return self._models.get(model, self._unknown)
