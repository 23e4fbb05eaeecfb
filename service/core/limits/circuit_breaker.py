"""Open the circuit for a model's submits after consecutive failures of the provider.

Every submit costs two writes to the journal, and some cost the job an attempt. After a few consecutive
submits that failed for reasons outside the jobs, the others wait. Probes leave at growing intervals, 1 to
60 s apart in each process, whether or not the ones before were answered; the first answer of a working
provider closes the circuit. Jobs are kept, so an outage does not flood the failures topic.
"""

from dataclasses import dataclass

from service.core.limits.backoff import Backoff
from service.core.provider import error_table
from service.core.provider.answers import Accepted, Answered, Lost, NotSent, ProviderError, SubmitAnswer
from service.core.provider.error_table import Action
from service.core.provider.own_codes import OwnCode
from service.errors import FailureCode

FAILURES_IN_A_ROW = 3
"""Consecutive failures that open the circuit: one may be chance, and a second its repetition."""
PROBE = Backoff(first_seconds=2.0, longest_seconds=60.0)
"""The wait before a probe: a short outage is seen to end soon, a long one costs a submit a minute."""


@dataclass(slots=True)
class CircuitBreaker:
    """The circuit of one model.

    `now` is any monotonic clock in seconds, `draw` lies in [0, 1).
    """

    failures: int = 0
    probes: int = 0
    probe_at: float = 0.0
    last: ProviderError | None = None
    """The last of the failures."""

    @property
    def is_open(self) -> bool:
        """Whether submits wait for a probe."""
        return self.failures >= FAILURES_IN_A_ROW

    def wait_seconds(self, now: float) -> float:
        """How long until a submit may go: zero while closed, else until the next probe is due."""
        return max(0.0, self.probe_at - now) if self.is_open else 0.0

    def probe(self, now: float, draw: float) -> None:
        """Note that a submit goes out.

        While open the next one waits, whatever this one's result.
        """
        if self.is_open:
            self.probes += 1
            self._wait(now, draw)

    def judge(self, answer: SubmitAnswer, now: float, draw: float) -> None:
        """Count a submit's answer as a failure, or reset the count."""
        if isinstance(answer, NotSent) and answer.provider_error.code == OwnCode.INTENT_TOO_OLD:
            return  # Our own delay says nothing about the provider.
        if isinstance(answer, Accepted | Answered) or not opens_circuit(answer):
            self.failures = self.probes = 0
            self.last = None
            return
        self.failures += 1
        self.last = answer.provider_error
        # Submits in flight when the circuit opens are not probes.
        if self.failures == FAILURES_IN_A_ROW:
            self._wait(now, draw)

    def _wait(self, now: float, draw: float) -> None:
        """Wait at least half of the backoff, so that probes stay rare.

        Jitter spreads the replicas.
        """
        self.probe_at = now + PROBE.wait_ms(self.probes + 1, (1 + draw) / 2) / 1000


def opens_circuit(answer: SubmitAnswer) -> bool:
    """Whether the answer counts as a failure of the provider.

    A provider that throttles is working.
    """
    if isinstance(answer, Accepted | Answered):
        return False
    policy = error_table.on_submit(answer.provider_error)
    if isinstance(answer, Lost):
        # A stream may break off with an error about its audio.
        return policy.action is not Action.FAIL or policy.code is FailureCode.SUBMIT_UNCERTAIN
    if isinstance(answer, NotSent):
        return True
    is_about_audio = policy.code is FailureCode.AUDIO_UNREACHABLE
    return policy.action is Action.RETRY and not is_about_audio and not answer.provider_error.is_throttled
