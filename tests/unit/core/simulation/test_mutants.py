"""The simulation's oracle can see: with each protection taken away, in this process alone, it turns red."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from service.contract.request import Action as Asked
from service.contract.request_decoder import DecodedRequest
from service.core.job import job_table, on_poll, on_submit, on_uncertain, submission_table
from service.core.job.accepted_request import AcceptedRequest, FinishedRequest
from service.core.job.events import (
    CancelAsked,
    DeadlinePassed,
    FetchFailed,
    JobEvent,
    JobRestored,
    JobsLeft,
    SubmissionEvent,
    SubmissionRestored,
    SubmitLost,
)
from service.core.job.identity import JobRef, RequestKey, SubmissionKey
from service.core.job.job import Job, JobState
from service.core.job.request_progress import RequestProgress
from service.core.job.submission import Submission, SubmissionState
from service.core.job.transition_context import Context, JobTransition, SubmissionTransition
from service.core.journal.entries import JobEntry, encode_job
from service.core.journal.replay import Restore
from service.core.journal.stamp import CURSOR_PREFIX, Stamp
from service.core.provider import error_table
from service.core.provider.answers import ProviderError
from service.core.provider.error_table import Action, ErrorPolicy
from service.core.reconciliation import matching
from service.core.reconciliation.journal_scan import PartitionScan
from service.core.shard import admission, batches, companions, finished_requests, loading
from service.core.shard.admission import Admission
from service.core.shard.batches import Batch, Change
from service.core.shard.draft import Draft
from service.core.shard.loading import Loading
from service.core.shard.shard import Shard
from service.errors import FailureCode, InvalidRecord
from service.kafka.writing import at_least_once as writer_module
from service.kafka.writing import exactly_once
from service.kafka.writing import shard_records as addressed
from service.kafka.writing.at_least_once import AtLeastOnceWriter
from service.kafka.writing.producer_record import ProducerRecord
from tests.unit.core.simulation import engine, packing
from tests.unit.core.simulation.hotwords import Hotwords
from tests.unit.core.simulation.owner import ShardOwner
from tests.unit.core.simulation.weather import Weather
from tests.unit.core.simulation.world import World
from tests.unit.core.simulation.writing import Flight, Pen, SteppedAtLeastOnce

MOST_SEEDS = 150
"""Within so many worlds a mutant must be found out."""
Patch = Callable[[pytest.MonkeyPatch], None]
USUAL = Weather()


@dataclass(frozen=True)
class Mutant:
    """A protection that is taken away, and the rule that must be seen broken."""

    name: str
    patch: Patch
    rule: str
    weather: Weather = USUAL
    first_seed: int = 0
    """Ones that show it soon."""


def _answer(
    monkeypatch: pytest.MonkeyPatch, state: JobState, event: type[JobEvent], answer: job_table.JobHandler
) -> None:
    monkeypatch.setitem(job_table.TRANSITIONS, (state, event), job_table.Transition(answer))


def _writer(monkeypatch: pytest.MonkeyPatch, *stages: str) -> None:
    """A writer whose stages come in this order, or not at all."""

    async def in_order(self: AtLeastOnceWriter, part: Batch) -> int:
        addressed, offsets = self._shard_records, [-1]
        records = {
            "announcing": addressed.announcing(part),
            "records": [*addressed.records(part), *addressed.retracting(part)],
            "cursor": [*addressed.cursor(part)],
        }
        for stage in stages:
            if stage == "outcomes":
                await self._publish(part.outcomes)
            else:
                offsets.append(await self._write(records[stage]))
        return max(offsets)

    monkeypatch.setattr(AtLeastOnceWriter, "_stages", in_order)


def no_intent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The POST goes out without waiting for its intent."""
    intend = ShardOwner.intend

    def hasty(self: ShardOwner, key: SubmissionKey) -> None:
        intend(self, key)
        for pending in self.posting:
            pending.sealed_ms = (self.place.wall_ms, self.place.boot_ms)

    monkeypatch.setattr(ShardOwner, "intend", hasty)


def another_receipt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next batch that becomes durable, whatever it holds, counts as that of the intent."""
    committed = ShardOwner._committed

    def credulous(self: ShardOwner, flight: Flight, journal_offset: int) -> None:
        for pending in self.posting:
            if pending.sealed_ms is None:
                pending.sealed_ms, pending.journal_offset = flight.sealed_ms, journal_offset
        committed(self, flight, journal_offset)

    monkeypatch.setattr(ShardOwner, "_committed", credulous)


def no_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner posts without reading its journal back."""
    follow = ShardOwner.follow
    monkeypatch.setattr(ShardOwner, "follow", lambda self, until=None: None if until else follow(self))


def no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes go out without the journal being read back."""

    async def trust(self: SteppedAtLeastOnce, announced: int) -> None:
        pass

    monkeypatch.setattr(SteppedAtLeastOnce, "_require_ownership", trust)


def cursor_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor becomes durable before the requests."""
    _writer(monkeypatch, "cursor", "announcing", "outcomes", "records")


def done_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """That a job is done becomes durable before its outcome."""
    _writer(monkeypatch, "announcing", "records", "outcomes", "cursor")


def unannounced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes are sent unannounced."""
    _writer(monkeypatch, "outcomes", "records", "cursor")


def announced_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent again begins with what announced the outcomes."""
    divide = AtLeastOnceWriter._divide

    def from_the_beginning(self: AtLeastOnceWriter) -> None:
        self._is_published = False
        divide(self)

    monkeypatch.setattr(AtLeastOnceWriter, "_divide", from_the_beginning)


def cursor_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a batch that is divided both pieces move the cursor to its end."""

    def halves(batch: Batch, least_bytes: int = 0) -> tuple[Batch, Batch] | None:
        pieces = batches.halves(batch, least_bytes)
        if pieces is None:
            return None
        first, second = pieces
        *others, last = first.groups
        return Batch(first.number, (*others, replace(last, cursor=batch.cursor))), second

    monkeypatch.setattr(exactly_once, "halves", halves)
    monkeypatch.setattr(writer_module, "halves", halves)


def tombstones_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tombstones of a request's jobs are written before its short form."""
    split = writer_module._split

    def backwards(records: Sequence[ProducerRecord]) -> tuple[list[ProducerRecord], list[ProducerRecord]]:
        entries, tombstones = split(records)
        return tombstones, entries

    monkeypatch.setattr(writer_module, "_split", backwards)


def no_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore takes what strangers wrote."""
    add = Restore.add

    def credulous(self: Restore, offset: int, key: str, value: bytes | None, stamp: bytes | None) -> None:
        highest, self.epoch = self.epoch, 0
        add(self, offset, key, value, stamp)
        self.epoch = max(highest, self.epoch)

    monkeypatch.setattr(Restore, "add", credulous)


def _loaded(monkeypatch: pytest.MonkeyPatch, change: Callable[[Job], Job], *, is_blind: bool = False) -> None:
    """A restore that changes each job; `is_blind`: it does not see their own records."""
    load_job = Loading._job

    def changed(self: Loading, request: AcceptedRequest, ref: JobRef, entry: JobEntry) -> Job:
        return change(load_job(self, request, ref, JobEntry(ref) if is_blind else entry))

    monkeypatch.setattr(Loading, "_job", changed)


def ending_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore leaves announced endings alone."""
    _answer(monkeypatch, JobState.FINISHING, JobRestored, job_table.ignore)


def ending_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore forgets that an ending was decided."""
    _loaded(monkeypatch, lambda job: job, is_blind=True)


def result_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restored result may still become a failure."""
    _loaded(monkeypatch, lambda job: replace(job, must_be_result=False))


def summary_by_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who carries the summary is decided anew by every owner."""
    _loaded(monkeypatch, lambda job: replace(job, accounted=None))


def summary_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A summary of endings that were never announced is kept."""
    monkeypatch.setattr(RequestProgress, "is_decided", True)


def _posted_again(
    submission: Submission, _event: SubmissionEvent, jobs: Mapping[JobRef, Job], context: Context
) -> SubmissionTransition:
    return on_submit.give_back(submission, jobs, context.now_ms, context)


def restored_posted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restored intent is posted again."""
    pair = (SubmissionState.INTENDED, SubmissionRestored)
    monkeypatch.setitem(submission_table.TRANSITIONS, pair, submission_table.Transition(_posted_again))


def lost_posted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A POST whose answer was lost is made again."""
    pair = (SubmissionState.INTENDED, SubmitLost)
    monkeypatch.setitem(submission_table.TRANSITIONS, pair, submission_table.Transition(_posted_again))


def everything_resubmitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that failed for good is submitted again."""
    again = ErrorPolicy(Action.RESUBMIT, FailureCode.PROVIDER_ERROR, max_attempts=9)

    def on_file(provider_error: ProviderError) -> ErrorPolicy:
        return again

    monkeypatch.setattr(error_table, "on_file", on_file)


def no_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeated request opens its jobs once more."""
    monkeypatch.setattr(Draft, "known", lambda self, key: None)


def no_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows a record again when a crash lets it be read twice."""

    def admit(self: admission._Admitting, read: DecodedRequest | InvalidRecord) -> Admission:
        if isinstance(read, InvalidRecord):
            return self._refuse(read)
        request = read.request
        key = RequestKey(request.request_id, request.replay)
        known = self.draft.known(key)
        if known is None:
            is_cancel = request.action is Asked.CANCEL
            return self._refuse(finished_requests.unknown(request)) if is_cancel else self._open(read)
        if request.action is Asked.CANCEL:
            return self._cancel(request, known)
        if known.digest != read.digest:
            return self._refuse(finished_requests.conflict(request, self.draft.shard.by_id))
        if isinstance(known, FinishedRequest):
            return self._answer(request, known)
        return self._repeat(request, key)

    monkeypatch.setattr(admission._Admitting, "admit", admit)


def no_mending(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers' records are left to the compaction."""
    monkeypatch.setattr(Shard, "rewrite", lambda self, keys: Change())


def one_cursor_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Owners write their cursors under one key."""
    superseded = Restore.superseded

    def but_the_cursor(self: Restore) -> list[str]:
        return [key for key in superseded(self) if not key.startswith(CURSOR_PREFIX)]

    for module in (addressed, engine):
        monkeypatch.setattr(module, "cursor_key", lambda epoch: f"{CURSOR_PREFIX}0")
    monkeypatch.setattr(Restore, "superseded", but_the_cursor)


def ending_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job whose outcome is on its way is mended as it stands, behind the record that it is done."""
    own_job = Shard._own_job

    def as_it_stands(self: Shard, ref: JobRef) -> bytes | None:
        job = self.jobs.get(ref)
        return own_job(self, ref) if job is None else encode_job(job)

    monkeypatch.setattr(Shard, "_own_job", as_it_stands)


def one_task_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files with one URL share a task."""

    def plan(files: Sequence[tuple[JobRef, str]], files_per_task: int) -> tuple[tuple[JobRef, ...], ...]:
        refs = tuple(ref for ref, _ in files)
        return tuple(refs[at : at + files_per_task] for at in range(0, len(refs), files_per_task))

    for module in (admission, loading):
        monkeypatch.setattr(module, "plan_submissions", plan)


def no_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished requests stay for ever."""
    monkeypatch.setattr(Shard, "expired_tombstones", lambda self, now_ms: Change())


def parts_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that leaves files out is nobody's."""
    monkeypatch.setattr(matching, "match_parts", lambda *_: ({}, set()))


def stuck_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that meets its deadline while its fetch fails is left alone."""
    fetch_failed = job_table.TRANSITIONS[JobState.COLLECTING, FetchFailed].handler

    def left_alone(job: Job, event: FetchFailed, submission: Submission, context: Context) -> JobTransition:
        is_overdue = context.now_ms >= job.request.deadline_ms
        return JobTransition(job) if is_overdue else fetch_failed(job, event, submission, context)

    _answer(monkeypatch, JobState.COLLECTING, FetchFailed, left_alone)


def nothing_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction whose end is unknown counts as taken back."""

    async def look_up(self: Pen, start: int, mine: Stamp) -> int | None:
        return None

    monkeypatch.setattr(Pen, "_look_up", look_up)


def cancel_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancel of a job with a task is left alone."""
    _answer(monkeypatch, JobState.SUBMITTED, CancelAsked, job_table.ignore)


def deadline_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job is submitted whatever its deadline says."""
    monkeypatch.setattr(on_submit, "is_overdue", lambda job, context: False)
    _answer(monkeypatch, JobState.WAITING, DeadlinePassed, job_table.ignore)


def called_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost call of a synchronous model is made again for ever."""
    monkeypatch.setattr(on_uncertain, "MAX_LOST_CALLS", 99)


def no_hotwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """A submit goes out without its hotword list."""
    monkeypatch.setattr(Hotwords, "is_at_hand", lambda self, request: True)
    monkeypatch.setattr(Hotwords, "list_of", lambda self, request: None)


def no_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay is taken for the request that it repeats."""
    monkeypatch.setattr(admission, "RequestKey", lambda request_id, replay: RequestKey(request_id, 0))


def nothing_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """No journal is read for the tasks that somebody has."""
    monkeypatch.setattr(PartitionScan, "known", lambda self, wanted: set())


def packed_regardless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests share a POST whatever their options are."""
    monkeypatch.setattr(packing, "content_of", lambda request: request.model)


def packed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files with one URL share a POST if they are of several requests."""
    monkeypatch.setattr(companions, "unquote", lambda url: object())


def cancelled_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancel of one request cancels the task that it shares."""
    follow = on_poll.follow

    def hasty(
        submission: Submission, event: JobsLeft, jobs: Mapping[JobRef, Job], context: Context
    ) -> SubmissionTransition:
        return follow(submission, event, {} if event.is_unwanted else jobs, context)

    pair = (SubmissionState.RUNNING, JobsLeft)
    monkeypatch.setitem(submission_table.TRANSITIONS, pair, submission_table.Transition(hasty))


CRASHES = Weather(disturbed=0.06)
STRANGERS = Weather(disturbed=0.06, strange=0.25)
HURRY = Weather(disturbed=0.05, hurried=1.0, unfetched=0.8)
BROKER = Weather(disturbed=0.06, unacknowledged=0.1)
BAD_BROKER = Weather(disturbed=0.03, unacknowledged=0.3)
LARGE = Weather(disturbed=0.06, unacknowledged=0.03, synchronous=0.6)
"""Many outcomes at once, and a broker that answers: transactions are divided for their size."""
CALLS = Weather(disturbed=0.1, synchronous=0.8)
MUTANTS = [
    Mutant("no intent before the POST", no_intent, "N2: .* its intent is not durable"),
    Mutant("the receipt of another batch", another_receipt, "N2: .* its intent is not durable"),
    Mutant("no fence before the POST", no_fence, "N2: .* its intent is not durable"),
    Mutant("no proof before an outcome", no_proof, "N1: .* for a stale owner in another", STRANGERS),
    Mutant("cursor before requests", cursor_first, "N5: the cursor passed"),
    Mutant("the cursor ahead of a split", cursor_ahead, "N5: the cursor passed", LARGE),
    Mutant("done before outcomes", done_first, "N1: nothing ever came|N5: .* its failure"),
    Mutant("no announcement of an outcome", unannounced, "N1: .* before its ending is durable"),
    Mutant("announced again behind the end", announced_again, "N1: .* was done by an owner", BAD_BROKER),
    Mutant("tombstones before the finished request", tombstones_first, "N1: |N3: |summary: ", BAD_BROKER, 60),
    Mutant("restore without the epoch rule", no_epochs, "N6: "),
    Mutant("announced ending ignored at restore", ending_ignored, "N1: nothing will ever happen"),
    Mutant("announced ending forgotten at restore", ending_forgotten, "N1: |N3: |summary: "),
    Mutant("restored result may fail", result_not_kept, "ends in more than one way|summary: ", HURRY),
    Mutant("restored intent posted again", restored_posted_again, "N3: |N10: "),
    Mutant("lost POST made again", lost_posted_again, "N3: |N10: "),
    Mutant("failed files submitted again", everything_resubmitted, "N3: "),
    Mutant("duplicate check off", no_duplicates, "N3: |N1: |N2: |N5: "),
    Mutant("a record that is read again is a repeat", no_origin, "N1: nobody asked for", CRASHES),
    Mutant("nothing is mended", no_mending, "N6: "),
    Mutant("owners have one cursor's key", one_cursor_for_all, "N6: the cursor", STRANGERS),
    Mutant("mended behind its end", ending_mended, "N1: .* was done by an owner before", STRANGERS),
    Mutant("summary decided anew", summary_by_memory, "summary: ", CRASHES),
    Mutant("summary of unannounced endings", summary_kept, "summary: ", BAD_BROKER, 90),
    Mutant("equal URLs in one task", one_task_for_all, "N1: one URL twice"),
    Mutant("finished requests are never swept", no_sweep, "N8: .* are remembered"),
    Mutant("a task that leaves files out is nobody's", parts_ignored, "N3: ", BROKER),
    Mutant("fetch stuck at the deadline", stuck_fetch, "N1: nothing will ever happen", HURRY),
    Mutant("unknown transactions written again", nothing_looked_up, "N1: .* is published twice", BROKER),
    Mutant("cancel left alone", cancel_ignored, "N1: .* was cancelled, and ends as"),
    Mutant("deadline left alone", deadline_ignored, "N13: .* is posted after its deadline", HURRY),
    Mutant("lost calls made again for ever", called_for_ever, "N10: .* is called for again", CALLS),
    Mutant("submit without its hotword list", no_hotwords, "N1: .* is posted with"),
    Mutant("replay taken for a repeat", no_replays, "N5: the cursor passed|N1: nothing ever came"),
    Mutant("requests of other options share a POST", packed_regardless, "N1: .* is posted with"),
    Mutant("a pack holds one URL twice", packed_twice, "N1: one URL twice"),
    Mutant("a cancel is one of all that share the task", cancelled_for_all, "N1: .* fails as cancelled"),
    Mutant("tasks of others are anybody's", nothing_scanned, "N3: |N10: |N1: ", BROKER),
]


def told_by(seed: int, weather: Weather) -> list[str]:
    """All that goes wrong in a world."""
    try:
        World(seed, weather).run()
    except Exception as error:  # noqa: BLE001 - a mutant may go wrong in any way
        return str(error).split("\n")
    return []


def is_seen(mutant: Mutant, seed: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the rule is seen broken in a world in which it holds without the mutant."""
    with monkeypatch.context() as mutation:
        mutant.patch(mutation)
        told = told_by(seed, mutant.weather)
    red = [rule for rule in told if re.search(mutant.rule, rule)]
    return bool(red) and not set(red) <= set(told_by(seed, mutant.weather))


@pytest.mark.needs_minutes
@pytest.mark.computes
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_without_a_protection_the_oracle_turns_red(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = range(mutant.first_seed, mutant.first_seed + MOST_SEEDS)
    assert any(is_seen(mutant, seed, monkeypatch) for seed in seeds), f"nobody noticed in {MOST_SEEDS} worlds"
