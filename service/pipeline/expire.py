"""Expire: tell jobs that their deadline has passed.

Deadlines are days away and most jobs are done long before, so the open jobs are looked over once a second
instead of queueing every deadline; a jump of the wall clock then needs no care either.
"""

from collections.abc import Callable, Iterable

from service.clock import Clock
from service.core.events import DeadlinePassed
from service.core.job import Job, State
from service.pipeline.gate import Gate
from service.pipeline.poll import PollStage
from service.pipeline.publish import OwnedShard
from service.pipeline.vocabulary import VocabularyStage

SWEEP_SECONDS = 1.0


async def expire(
    shards: Callable[[], Iterable[OwnedShard]],
    clock: Clock,
    on_turn: Callable[[], None],
    why: Callable[[Job], str],
) -> None:
    """Watch the deadlines of all open jobs, and what is to be tried again, until cancelled.

    `why` says what a job had to wait for.
    """
    while True:
        on_turn()
        for shard in list(shards()):
            shard.border.try_again()
            for key in shard.state.overdue(clock.now_ms()):
                shard.apply(key, DeadlinePassed(why(shard.state.jobs[key])))
        await clock.sleep(SWEEP_SECONDS)


def reason(job: Job, gate: Gate, poll: PollStage, vocabulary: VocabularyStage) -> str:
    """What keeps the job from going on: what looks at tasks meet, or what its submit waits for."""
    match job.state:
        case State.RUNNING:
            return poll.reason()
        case State.ACCEPTED | State.WAITING | State.UNCERTAIN:
            return vocabulary.reason(job.spec) or gate.reason(job.spec.model)
        case _:
            return ""
