"""The simulation's oracle can see: with each protection taken away, in this process alone, it turns red."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from service.core import grouping, sending, verdicts, watching
from service.core import shard as shard_module
from service.core.batch import Appended, Batch, Committed, Unknown
from service.core.entry import encode_job, read_key
from service.core.events import Event, FetchFailed, Intended, Restored, SubmitLost
from service.core.identity import JobKey
from service.core.job import Job, State
from service.core.moment import Moment, Transition, expire, wait
from service.core.restore import Restore
from service.core.shard import Move, Shard
from service.core.sightings import Sightings
from service.core.tally import Tally
from service.core.task import Trouble
from service.core.transitions import TABLE, Answer, ignore, impossible
from service.core.verdict import Action, Verdict
from service.errors import FailureCode, PublishError
from service.kafka.writer import AtLeastOnceWriter
from tests.unit.core.simulation.known import KNOWN, row_of
from tests.unit.core.simulation.owner import Owner
from tests.unit.core.simulation.weather import Weather
from tests.unit.core.simulation.world import DRAWN, World

MOST_SEEDS = 150
"""Within so many worlds a mutant must be found out."""
Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutant:
    """A protection that is taken away, and the rule that must be seen broken."""

    name: str
    patch: Patch
    rule: str
    weather: Weather = DRAWN
    first_seed: int = 0
    """Ones that show it soon."""


def _answer(monkeypatch: pytest.MonkeyPatch, state: State, event: type[Event], answer: Answer) -> None:
    monkeypatch.setitem(TABLE, (state, event), answer)


def _writer(monkeypatch: pytest.MonkeyPatch, *stages: str) -> None:
    """A writer whose stages come in this order, or not at all."""

    async def append(self: AtLeastOnceWriter, batch: Batch) -> Appended:
        addressed = self._addressed
        records = {
            "finishing": addressed.finishing(batch),
            "outcomes": [addressed.outcome(move.outcome) for move in batch.moves if move.outcome],
            "entries": addressed.entries(batch),
            "cursor": addressed.cursor(batch),
        }
        offsets = [-1]
        for stage in stages:
            for record in records[stage]:
                [answer] = await self._sender.send([record])
                if isinstance(answer, PublishError):
                    return Unknown("not acknowledged")
                if stage != "outcomes":
                    offsets.append(answer)
        return Committed(max(offsets))

    monkeypatch.setattr(AtLeastOnceWriter, "append", append)


def no_intent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The POST goes out without waiting for its intent."""
    intend = Owner.intend

    def hasty(self: Owner, keys: list[JobKey]) -> None:
        intend(self, keys)
        for errand in self.errands:
            errand.sealed_ms = self.around.now_ms

    monkeypatch.setattr(Owner, "intend", hasty)


def no_fence(monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner posts without reading its journal back."""
    follow = Owner.follow
    monkeypatch.setattr(Owner, "follow", lambda self, until=None: None if until else follow(self))


def cursor_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor becomes durable before the entries."""
    _writer(monkeypatch, "cursor", "finishing", "outcomes", "entries")


def markers_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The markers become durable before the outcomes."""
    _writer(monkeypatch, "finishing", "entries", "outcomes", "cursor")


def no_finishing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes are sent unannounced."""
    _writer(monkeypatch, "outcomes", "entries", "cursor")


def no_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore takes what strangers wrote."""
    add = Restore.add

    def credulous(self: Restore, offset: int, key: str, value: bytes | None, stamp: bytes | None) -> None:
        highest, self.epoch = self.epoch, 0
        add(self, offset, key, value, stamp)
        self.epoch = max(highest, self.epoch)

    monkeypatch.setattr(Restore, "add", credulous)


def finishing_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore leaves announced endings alone."""
    _answer(monkeypatch, State.FINISHING, Restored, ignore)


def finishing_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore forgets that an ending was decided."""

    def undecided(job: Job, event: Event, moment: Moment) -> Transition:
        undone = replace(
            job, ending=None, tallied=None, state=State.RUNNING if job.task_id else State.ACCEPTED
        )
        return TABLE[undone.state, Restored](undone, event, moment)

    _answer(monkeypatch, State.FINISHING, Restored, undecided)


def result_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restored result may still become a failure."""
    monkeypatch.setattr(watching, "replace", lambda job, **new: replace(job, **(new | _without_promise(new))))


def _without_promise(new: dict[str, object]) -> dict[str, bool]:
    return {"must_be_result": False} if "must_be_result" in new else {}


def submitting_resubmitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restored intent is submitted again."""

    def again(job: Job, event: Event, moment: Moment) -> Transition:
        return sending.queue_again(replace(job, state=State.ACCEPTED), Restored(), moment)

    _answer(monkeypatch, State.SUBMITTING, Restored, again)


def lost_resubmitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A POST whose answer was lost is made again."""

    def again(job: Job, event: SubmitLost, moment: Moment) -> Transition:
        return wait(job, event.trouble, moment)

    _answer(monkeypatch, State.SUBMITTING, SubmitLost, again)


def everything_resubmitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that failed for good is submitted again."""
    again = Verdict(Action.RESUBMIT, FailureCode.PROVIDER_ERROR, max_attempts=9)

    def on_file(trouble: Trouble) -> Verdict:
        return again

    monkeypatch.setattr(verdicts, "on_file", on_file)


def no_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeated request opens its jobs once more."""
    monkeypatch.setattr(Tally, "is_whole", property(lambda self: False))
    monkeypatch.setattr(Shard, "_knows", lambda self, key: False)


def no_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that a crash left in part counts as a duplicate."""
    monkeypatch.setattr(Tally, "is_whole", property(lambda self: True))


def no_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows a request's own record again when a crash lets it be read twice."""
    monkeypatch.setattr(Tally, "origin_offset", property(lambda self: None, lambda self, value: None))


def no_mending(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers' entries are left to the compaction."""
    monkeypatch.setattr(Shard, "mend", lambda self, keys: ())


def no_cursor_mending(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's cursor is left to the compaction."""
    monkeypatch.setattr(shard_module, "CURSOR_KEY", "~nothing")
    monkeypatch.setattr("tests.unit.core.simulation.owner.CURSOR", "~nothing")


def finishing_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job whose outcome is on its way is mended as it stands, behind its marker."""
    own_entry = Shard._own_entry

    def as_it_stands(self: Shard, key: str) -> Move:
        job = self.jobs.get(read_key(key))
        return own_entry(self, key) if job is None else Move(key, encode_job(job))

    monkeypatch.setattr(Shard, "_own_entry", as_it_stands)


def collecting_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that is being fetched is written as one."""
    own_entry = Shard._own_entry

    def as_it_stands(self: Shard, key: str) -> Move:
        job, move = self.jobs.get(read_key(key)), own_entry(self, key)
        if job is None or job.state is not State.COLLECTING or move.entry is None:
            return move
        return replace(move, entry=move.entry.replace(b'"state":"running"', b'"state":"collecting"'))

    monkeypatch.setattr(Shard, "_own_entry", as_it_stands)


def summary_by_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who carries the summary is decided anew by every owner."""
    monkeypatch.setattr(Shard, "_load_job", lambda self, job, moment: self._hold(replace(job, tallied=None)))


def summary_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A summary of endings that were never announced is kept."""
    monkeypatch.setattr(Shard, "_take_back_summaries", lambda self: None)


def one_task_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files with one URL share a task."""

    def plan_groups(file_urls: Sequence[str], files_per_task: int) -> list[int]:
        return [index // files_per_task for index in range(len(file_urls))]

    monkeypatch.setattr(grouping, "plan_groups", plan_groups)


def no_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Markers stay for ever."""
    monkeypatch.setattr(Shard, "sweep", lambda self, now_ms: ())


def one_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most one request leaves the window with a batch."""
    monkeypatch.setattr(shard_module, "SWEEP_MOVES", 1)


def half_swept_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that was half swept before a crash is not remembered, so never swept."""
    remember = Shard._remember_finished

    def complete_only(self: Shard, moment: Moment) -> None:
        partial = {key: tally for key, tally in self.tallies.items() if not (tally.is_complete or tally.open)}
        for key in partial:
            del self.tallies[key]
        remember(self, moment)
        self.tallies.update(partial)

    monkeypatch.setattr(Shard, "_remember_finished", complete_only)


def stuck_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that may be out meets its deadline while its fetch fails, and is left alone."""
    fetch_failed = watching.fetch_failed

    def left_alone(job: Job, event: FetchFailed, moment: Moment) -> Transition:
        overdue = moment.now_ms >= job.spec.deadline_ms
        return expire(job, event, moment) if overdue else fetch_failed(job, event, moment)

    _answer(monkeypatch, State.COLLECTING, FetchFailed, left_alone)


def late_intent_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An intent for a job that a cancel has just ended is taken for a bug."""
    _answer(monkeypatch, State.FINISHING, Intended, impossible)


def siblings_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that one job of a POST is known to have is no other's."""
    monkeypatch.setattr(Sightings, "note_shared", lambda self, requests: None)


CRASHES = Weather(disturbed=0.06)
STRANGERS = Weather(disturbed=0.06, strange=0.25)
HURRY = Weather(disturbed=0.05, hurried=1.0, unfetched=0.8)
BROKER = Weather(disturbed=0.06, unacknowledged=0.1)
BAD_BROKER = Weather(disturbed=0.03, unacknowledged=0.3)
BOTH = Weather(disturbed=0.15, unacknowledged=0.1)
MUTANTS = [
    Mutant("no intent before the POST", no_intent, "N2: .* its intent is not durable"),
    Mutant("no fence before the POST", no_fence, "N2: .* its intent is not durable"),
    Mutant("cursor before entries", cursor_first, "N5: the cursor passed"),
    Mutant("markers before outcomes", markers_first, "N1: nothing ever came|N5: .* its failure"),
    Mutant("no FINISHING before an outcome", no_finishing, "N1: .* before its ending is durable"),
    Mutant("restore without the epoch rule", no_epochs, "N6: "),
    Mutant("FINISHING ignored at restore", finishing_ignored, "N1: nothing will ever happen"),
    Mutant("FINISHING forgotten at restore", finishing_forgotten, "N1: |N3: |summary: "),
    Mutant("restored result may fail", result_not_kept, "ends in more than one way|summary: ", HURRY),
    Mutant("restored intent submitted again", submitting_resubmitted, "N3: |N10: "),
    Mutant("lost POST made again", lost_resubmitted, "N3: |N10: "),
    Mutant("failed files submitted again", everything_resubmitted, "N3: "),
    Mutant("duplicate check off", no_duplicates, "N3: |N1: |N2: "),
    Mutant("half an accept is a duplicate", no_completion, "N5: |N1: nothing ever came", CRASHES),
    Mutant("a record that is read again is a repeat", no_origin, "N1: nobody asked for", CRASHES),
    Mutant("nothing is mended", no_mending, "N6: "),
    Mutant("the cursor is not mended", no_cursor_mending, "N6: the cursor", STRANGERS),
    Mutant("mended behind its marker", finishing_mended, "N1: .* was done by an owner before", STRANGERS),
    Mutant("mended while it is fetched", collecting_mended, "state collecting met Restored", STRANGERS),
    Mutant("summary decided anew", summary_by_memory, "summary: ", CRASHES),
    Mutant("summary of unannounced endings", summary_kept, "summary: ", BAD_BROKER, first_seed=15),
    Mutant("equal URLs in one task", one_task_for_all, "N1: one URL twice"),
    Mutant("markers are never swept", no_sweep, "N8: .* are remembered"),
    Mutant("markers are swept too slowly", one_swept, "N8: .* are remembered"),
    Mutant("half swept requests stay", half_swept_kept, "N8: .* never be forgotten", BOTH, first_seed=219),
    Mutant("an intent that comes too late", late_intent_refused, "state finishing met Intended"),
    Mutant("a sibling's task is no other's", siblings_ignored, "N3: |N10: ", BROKER),
    Mutant("fetch stuck at the deadline", stuck_fetch, "N1: nothing will ever happen", HURRY),
]


def first_red(weather: Weather, first_seed: int) -> str | None:
    """The first thing that goes wrong, with its seed, beyond what is known to go wrong without the mutant."""
    for seed in range(first_seed, first_seed + MOST_SEEDS):
        try:
            World(seed, weather).run()
        except Exception as error:  # noqa: BLE001 - a mutant may go wrong in any way
            told = [rule for rule in str(error).split("\n") if not _is_known(rule, weather, seed)]
            if told:
                return f"seed {seed}: {type(error).__name__}: {told[0]}"
    return None


def _is_known(rule: str, weather: Weather, seed: int) -> bool:
    is_end = row_of(rule) is not None and rule.startswith("N1")
    return is_end or (weather is DRAWN and rule in KNOWN.get(seed, []))


@pytest.mark.needs_minutes
@pytest.mark.computes
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_without_a_protection_the_oracle_turns_red(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.patch(monkeypatch)
    red = first_red(mutant.weather, mutant.first_seed)
    assert red is not None, f"nobody noticed in {MOST_SEEDS} worlds"
    assert re.search(mutant.rule, red), red
