"""How a job ends.

`core.job.job_table` decides it once; all later steps only carry it out.
"""

from collections.abc import Mapping

from service.contract.stage import Stage
from service.contract.transcript import Transcript
from service.errors import FailureCode
from service.frozen import dataclass


@dataclass(frozen=True, slots=True)
class ResultEnding:
    """The job ends with a result. `silent`: the provider found no speech.

    `renderings` were made when the transcript was read; if None, they are made with the outcome.
    """

    transcript: Transcript
    silent: bool = False
    renderings: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class FailureEnding:
    """The job ends with a failure. `retryable`: a replay of the same work may succeed."""

    stage: Stage
    code: FailureCode
    message: str
    provider_code: str | None = None
    retryable: bool = False


Ending = ResultEnding | FailureEnding


@dataclass(frozen=True, slots=True)
class AccountedUsage:
    """The job's part in its request's summary.

    Decided with the ending and kept: a restore reuses it.
    """

    billed_seconds: int | None
    carries_summary: bool
    cost: float = 0.0
    """At the prices in force when the ending was decided."""
