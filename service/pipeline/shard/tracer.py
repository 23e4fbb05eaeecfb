"""The port through which the stages tell the steps of requests that belong to a trace."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Protocol

from service.core.job.accepted_request import AcceptedRequest
from service.core.job.job import Job
from service.core.outcome.build import Outcome


class TracedStep(StrEnum):
    """A step that is one span; none outlasts the call or the batch that it is made of."""

    ACCEPT = "accept"
    SUBMIT = "submit"
    POLL = "poll"
    """Only the one that saw the end of the task."""
    FETCH = "fetch"
    PUBLISH = "publish"


class Tracer(Protocol):
    """Takes steps that have ended; its methods decide nothing, wait for nothing and never raise."""

    def step(
        self,
        step: TracedStep,
        requests: Iterable[AcceptedRequest],
        began_seconds: float,
        *,
        task_id: str | None = None,
        file_index: int | None = None,
        error: str | None = None,
    ) -> None:
        """A step has ended that served these requests; `began_seconds` is by the clock since boot."""
        ...

    def published(self, outcome: Outcome) -> None:
        """An outcome is durable."""
        ...


def requests_of(jobs: Iterable[Job]) -> Iterable[AcceptedRequest]:
    """The requests of some jobs, each once."""
    return {job.request.origin: job.request for job in jobs}.values()
