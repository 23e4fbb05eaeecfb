"""How many files a submit of a model may hold, learned from refusals.

Kept until the process ends.
"""

from collections.abc import Callable

from service.core.job.division import is_about_number
from service.core.provider.answers import Refused, SubmitAnswer


def _ignored(_model: str, _files: int) -> None:
    pass


class FileLimits:
    """The limits by model; `on_lowered` is called at each change."""

    def __init__(self, on_lowered: Callable[[str, int], None] = _ignored) -> None:
        self.on_lowered = on_lowered
        self._most: dict[str, int] = {}

    def most(self, model: str) -> int | None:
        """The most files of one submit; None before any refusal."""
        return self._most.get(model)

    def learn(self, answer: SubmitAnswer, model: str, files: int) -> None:
        """Halve the limit after a refusal for the number of files."""
        is_news = files > 1 and files // 2 < self._most.get(model, files)
        if isinstance(answer, Refused) and is_news and is_about_number(answer.provider_error):
            self._most[model] = files // 2
            self.on_lowered(model, files // 2)
