"""An owner's hotword lists: what `service/pipeline/hotwords/prepare` does, one attempt after the other."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from service.core.job.accepted_request import AcceptedRequest
from service.core.job.events import HotwordListRefused
from service.core.job.identity import SubmissionKey
from service.core.job.transition_context import may_try_again
from service.core.limits.backoff import Backoff
from service.core.provider import error_table
from service.core.provider.answers import ProviderError
from service.core.provider.error_table import Action, ErrorPolicy
from service.core.provider.hotword_lists import Need, need_of, needs_list
from service.errors import FailureCode

BACKOFF = Backoff(first_seconds=1.0, longest_seconds=60.0)
BELIEVED_MS = 3_600_000
"""By the boot clock."""


@dataclass(slots=True)
class Wanted:
    """A list that submissions wait for, and how often each bounded error has met each of them."""

    need: Need
    waiting: dict[SubmissionKey, Counter[FailureCode]] = field(default_factory=dict)
    attempts: int = 0


@dataclass(slots=True)
class Hotwords:
    """The lists that were found, and those that are wanted, by their names."""

    boot_ms: Callable[[], int]
    is_waiting: Callable[[SubmissionKey], bool]
    end: Callable[[SubmissionKey, HotwordListRefused], None]
    found: dict[str, tuple[str, int]] = field(default_factory=dict)
    wanted: dict[str, Wanted] = field(default_factory=dict)

    def list_of(self, request: AcceptedRequest) -> str | None:
        """The list to be sent with the request's submit, None where it needs none."""
        return self.found[_name(request)][0] if needs_list(request.options) else None

    def is_at_hand(self, request: AcceptedRequest) -> bool:
        """Whether the submit may go."""
        if not needs_list(request.options):
            return True
        _, until_ms = self.found.get(_name(request), ("", 0))
        return self.boot_ms() < until_ms

    def want(self, key: SubmissionKey, request: AcceptedRequest) -> str | None:
        """Let the submission wait for its list; the list's name, if nobody asks for it yet."""
        name = _name(request)
        is_new = name not in self.wanted
        wanted = self.wanted.setdefault(name, Wanted(need_of(request.model, request.options)))
        wanted.waiting.setdefault(key, Counter())
        return name if is_new else None

    def waiting(self) -> set[SubmissionKey]:
        """The submissions that wait."""
        return {key for wanted in self.wanted.values() for key in wanted.waiting}

    def is_wanted(self, name: str) -> bool:
        """Whether anybody waits for the list; else it is forgotten."""
        waiting = self.wanted[name].waiting
        for key in [key for key in waiting if not self.is_waiting(key)]:
            del waiting[key]
        if not waiting:
            del self.wanted[name]
        return bool(waiting)

    def had(self, name: str, vocabulary_id: str) -> list[SubmissionKey]:
        """The list is there: who may go on."""
        self.found[name] = (vocabulary_id, self.boot_ms() + BELIEVED_MS)
        return list(self.wanted.pop(name).waiting)

    def not_had(self, name: str, provider_error: ProviderError, draw: float) -> int | None:
        """End who has waited for long enough; in how many ms to ask again, None where nobody waits."""
        wanted, policy = self.wanted[name], error_table.on_hotword_list(provider_error)
        for key in [key for key, met in wanted.waiting.items() if _must_end(met, policy)]:
            del wanted.waiting[key]
            self.end(key, HotwordListRefused(provider_error))
        if not wanted.waiting:
            del self.wanted[name]
            return None
        wanted.attempts += 1
        return BACKOFF.wait_ms(wanted.attempts, draw, provider_error.retry_after_seconds)


def _must_end(met: Counter[FailureCode], policy: ErrorPolicy) -> bool:
    if policy.action is Action.HOLD:
        return False
    if policy.max_attempts is not None:
        met[policy.code] += 1
    return policy.action is not Action.RETRY or not may_try_again(met[policy.code], policy)


def _name(request: AcceptedRequest) -> str:
    return need_of(request.model, request.options).name
