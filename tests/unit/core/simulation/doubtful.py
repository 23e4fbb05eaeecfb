"""An owner's uncertain submits: what `service/pipeline/reconcile` does around the core, in two steps.

Between reading the list and deciding anything may happen.
"""

from typing import TYPE_CHECKING

from service.core.identity import JobKey
from service.core.job import State
from service.core.listing import Reading
from service.core.reconcile import Evidence, decide, submits_of, window_of, witness_of
from service.core.sightings import Sightings
from service.core.survey import IN_DOUBT, Survey
from service.core.task import TaskPage, Trouble

if TYPE_CHECKING:
    from tests.unit.core.simulation.owner import Owner

DAY_MS = 24 * 3600 * 1000


class Doubtful:
    """The jobs that are asked about, and what is known by now."""

    def __init__(self, owner: "Owner") -> None:
        self.owner = owner
        self.asked: dict[JobKey, int] = {}
        """When each settles."""
        self.next_ms: int | None = None
        self.first_ms: dict[JobKey, int] = {}
        self.sightings = Sightings()
        self.evidence = Evidence()
        self.is_read = False

    def ask(self, key: JobKey, due_ms: int, settled_ms: int) -> None:
        """Look for the job's task."""
        self.asked[key], self.first_ms[key] = settled_ms, due_ms
        self.next_ms = due_ms if self.next_ms is None else min(self.next_ms, due_ms)

    def due_ms(self) -> list[int]:
        """When the next pass begins."""
        self._forget()
        return [self.next_ms] if self.asked and self.next_ms is not None else []

    def actions(self) -> list[str]:
        """What could be done now."""
        self._forget()
        if self.is_read:
            return ["conclude"]
        is_due = bool(self.asked) and self.next_ms is not None and self.next_ms <= self.owner.around.now_ms
        return ["read"] if is_due else []

    def _forget(self) -> None:
        jobs = self.owner.shard.jobs
        self.asked = {
            key: settled_ms
            for key, settled_ms in self.asked.items()
            if key in jobs and jobs[key].state is State.UNCERTAIN
        }

    def read(self) -> None:
        """Read the whole list, or as far as it goes."""
        around, rules = self.owner.around, self.owner.moment().rules
        ahead_ms = around.provider.ahead_ms
        jobs = self.owner.shard.jobs
        spans = [window_of(jobs[key], ahead_ms, rules) for key in self.asked]
        witnesses = {
            job.task_id: witness_of(job, ahead_ms, rules)
            for job in jobs.values()
            if job.state is State.RUNNING
            and job.task_id is not None
            and rules.settle_seconds * 1000 <= around.now_ms - (job.submitted_ms or 0) < 0.9 * DAY_MS
        }
        reading = Reading(spans, witnesses)
        for page_no in range(1, 1_000):
            page = around.provider.list(page_no, around.now_ms)
            if not isinstance(page, TaskPage):
                reading.fail()
                break
            reading.add(page, around.now_ms + ahead_ms)
            if reading.is_over:
                break
        self.evidence = self.evidence.after(around.now_ms, is_complete=reading.is_complete, apart_ms=5_000)
        self.sightings.take(reading, spans)
        requests = {key.request for key in self.asked}
        shard = self.owner.shard
        self.sightings.note_shared({each: of for of in requests for each in shard.tasks_of(of)})
        self.is_read = True

    def conclude(self) -> None:
        """Read the journal, look at tasks that nobody knows, decide."""
        around, self.is_read = self.owner.around, False
        survey = Survey(0, {each.task_id for each in self.sightings.candidates()})
        for entry in around.journal.log if survey.wanted else ():
            survey.add(entry.offset, entry.key, entry.value, entry.stamp)
        self.sightings.note_known(survey.known())
        for task_id in self.sightings.to_look_at():
            view = around.provider.query(task_id, around.now_ms)
            if not isinstance(view, Trouble):
                self.sightings.note_look(view)
        self._decide(survey)
        next_look_ms = self.owner.moment().rules.look_schedule.next_look_ms
        times = [next_look_ms(self.first_ms[key], around.now_ms) for key in self.asked]
        self.next_ms = min(times, default=None)

    def _decide(self, survey: Survey) -> None:
        around, shard, moment = self.owner.around, self.owner.shard, self.owner.moment()
        self.sightings.note_known(each for job in shard.jobs.values() for each in job.task_ids)
        jobs = [job for job in shard.jobs.values() if job.state in IN_DOUBT]
        jobs += [
            job for job in survey.in_doubt() if job.state is State.SUBMITTING and job.key not in shard.jobs
        ]
        submits = submits_of(jobs, around.provider.ahead_ms, moment.rules)
        answers = decide(submits, self.sightings.candidates(), self.evidence, self.asked, moment)
        for submit, event in answers.items():
            for key in [key for key in submit.keys if key in self.asked]:
                around.count(f"uncertain: {type(event).__name__}")
                self.owner.apply(key, event)
        self._forget()
