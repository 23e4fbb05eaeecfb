"""Whether the provider is out of reach for submits, judged by their answers in a row.

Every try costs two writes to the journal, and some cost the job an attempt. So after a few submits in a row
that failed for a reason that is not theirs, the others wait: one probe at a time goes out, ever more slowly,
and the first answer of a provider at work ends the outage. Jobs are kept, and so is the failures topic.
"""

from dataclasses import dataclass

from service.core.limits.backoff import Backoff
from service.core.provider import error_table
from service.core.provider.answers import Accepted, Answered, Lost, NotSent, ProviderError, SubmitAnswer
from service.core.provider.error_table import Action
from service.errors import FailureCode

FAILURES_IN_A_ROW = 3
"""So many make an outage: one may be chance, and a second its repetition."""
PROBE = Backoff(first_seconds=2.0, longest_seconds=60.0)
TOO_MANY_REQUESTS = 429
INTENT_TOO_OLD = "intent_too_old"
"""Nothing was tried: our own slowness says nothing about the provider."""


@dataclass(slots=True)
class CircuitBreaker:
    """One model's outage, or none; `now` is any monotonic clock in seconds, `draw` lies in [0, 1)."""

    failures: int = 0
    probes: int = 0
    probe_at: float = 0.0
    last: ProviderError | None = None
    """What the last of the failures was."""

    @property
    def is_open(self) -> bool:
        """Whether submits wait for a probe."""
        return self.failures >= FAILURES_IN_A_ROW

    def wait_seconds(self, now: float) -> float:
        """How long until a submit may go: zero without an outage, else until the next probe is due."""
        return max(0.0, self.probe_at - now) if self.is_open else 0.0

    def probe(self, now: float, draw: float) -> None:
        """A submit goes out; during an outage the next one waits, whatever becomes of this one."""
        if self.is_open:
            self.probes += 1
            self._wait(now, draw)

    def judge(self, answer: SubmitAnswer, now: float, draw: float) -> None:
        """Count or forget, as the answer to a submit says."""
        if isinstance(answer, NotSent) and answer.provider_error.code == INTENT_TOO_OLD:
            return
        if isinstance(answer, Accepted | Answered) or not opens_circuit(answer):
            self.failures = self.probes = 0
            self.last = None
            return
        self.failures += 1
        self.last = answer.provider_error
        # Those that were out together when it began are one outage, not many probes.
        if self.failures == FAILURES_IN_A_ROW:
            self._wait(now, draw)

    def _wait(self, now: float, draw: float) -> None:
        """Half of the wait at least, so that probes stay rare; the other half keeps replicas apart."""
        self.probe_at = now + PROBE.wait_ms(self.probes + 1, (1 + draw) / 2) / 1000


def opens_circuit(answer: SubmitAnswer) -> bool:
    """Whether no provider at work gave this answer; one that throttles is at work."""
    if isinstance(answer, Accepted | Answered):
        return False
    policy = error_table.on_submit(answer.provider_error)
    if isinstance(answer, Lost):
        # A stream may break off with a word about its audio.
        return policy.action is not Action.FAIL or policy.code is FailureCode.SUBMIT_UNCERTAIN
    if isinstance(answer, NotSent):
        return True
    is_about_audio = policy.code is FailureCode.AUDIO_UNREACHABLE
    is_throttled = answer.provider_error.http_status == TOO_MANY_REQUESTS
    return policy.action is Action.RETRY and not is_about_audio and not is_throttled
