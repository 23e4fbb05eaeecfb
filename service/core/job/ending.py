"""How a job ends: decided once, by `core.job.job_table`; everything after only carries it out."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.contract.stage import Stage
from service.contract.transcript import Transcript
from service.errors import FailureCode


@dataclass(frozen=True, slots=True)
class ResultEnding:
    """The job ends with a result. `silent`: the provider found no speech.

    `renderings` are those that were made where the transcript was read; None leaves them to the outcome.
    """

    transcript: Transcript
    silent: bool = False
    renderings: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class FailureEnding:
    """The job ends with a failure. `retryable` says whether the same work may succeed when it is replayed."""

    stage: Stage
    code: FailureCode
    message: str
    provider_code: str | None = None
    retryable: bool = False


Ending = ResultEnding | FailureEnding


@dataclass(frozen=True, slots=True)
class AccountedUsage:
    """The job's part in its request's summary, decided with its ending and kept: a restore repeats it."""

    billed_seconds: int | None
    carries_summary: bool
    cost: float = 0.0
    """By the prices in force then."""
