"""How many files a model's submits may hold, as refusals have told: for this process, until it ends."""

from collections.abc import Callable

from service.core.job.division import is_about_number
from service.core.provider.answers import Refused, SubmitAnswer


def _tell_nobody(_model: str, _files: int) -> None:
    pass


class FileLimits:
    """The numbers, by model; `on_lowered` is told of each change."""

    def __init__(self, on_lowered: Callable[[str, int], None] = _tell_nobody) -> None:
        self.on_lowered = on_lowered
        self._most: dict[str, int] = {}

    def most(self, model: str) -> int | None:
        """The most files of one submit; None where no refusal has told anything."""
        return self._most.get(model)

    def learn(self, answer: SubmitAnswer, model: str, files: int) -> None:
        """Halve a number of files that was refused."""
        is_news = files > 1 and files // 2 < self._most.get(model, files)
        if isinstance(answer, Refused) and is_news and is_about_number(answer.provider_error):
            self._most[model] = files // 2
            self.on_lowered(model, files // 2)
