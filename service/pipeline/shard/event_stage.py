"""The stage that an event comes from, and the stage that a step goes to."""

from service.core.job.events import (
    Adopted,
    CancelAsked,
    DeadlinePassed,
    Fetch,
    Fetched,
    FetchFailed,
    HandlingFailed,
    JobRestored,
    NoResult,
    NotFound,
    OutOfReach,
    Poll,
    Polled,
    PollFailed,
    ReadyToCollect,
    Reconcile,
    Step,
    SubmissionRestored,
)
from service.pipeline.shard.fault_boundary import Event
from service.pipeline.shard.stage_breaker import StageName

_OF_EVENT: dict[type[Event], StageName] = {
    Adopted: StageName.RECONCILE,
    ReadyToCollect: StageName.POLL,
    NoResult: StageName.POLL,
    NotFound: StageName.RECONCILE,
    OutOfReach: StageName.RECONCILE,
    Polled: StageName.POLL,
    PollFailed: StageName.POLL,
    Fetched: StageName.COLLECT,
    FetchFailed: StageName.COLLECT,
    CancelAsked: StageName.EXPIRE,
    DeadlinePassed: StageName.EXPIRE,
    JobRestored: StageName.RESTORE,
    SubmissionRestored: StageName.RESTORE,
}
_OF_STEP: dict[type[Step], StageName] = {
    Poll: StageName.POLL,
    Fetch: StageName.COLLECT,
    Reconcile: StageName.RECONCILE,
}


def stage_of(event: Event) -> StageName:
    """The stage that produces the event; submit for all events not listed above."""
    return _OF_EVENT.get(type(event), StageName.SUBMIT)


def proves_stage_works(event: Event) -> bool:
    """Whether handling the event proves that its stage works.

    An event without content does not.
    """
    return not isinstance(event, HandlingFailed | PollFailed | FetchFailed)


def stage_of_step(step: Step) -> StageName:
    """The stage that carries the step out."""
    return _OF_STEP.get(type(step), StageName.SUBMIT)
