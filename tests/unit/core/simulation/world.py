"""The scheduler of the simulation: owners come and go, faults happen, step follows step from one seed."""

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from service.core.admission import AdmissionRules
from service.core.entry import Marker, decode
from service.core.identity import JobKey
from service.core.outcomes import OutcomeRules
from service.core.record import Cursor
from service.core.restore import Restore
from service.core.shard import Shard, Window
from service.kafka.addressed import Addressed
from service.kafka.outgoing import Outgoing
from tests.unit.core.simulation.journal import CURSOR, OWNER, Delivery, JournalModel, Violation, check
from tests.unit.core.simulation.oracle import judge_cursor, judge_outcomes
from tests.unit.core.simulation.owner import TOPICS, Owner
from tests.unit.core.simulation.plan import Plan
from tests.unit.core.simulation.provider import DAY_MS, ProviderModel
from tests.unit.core.simulation.weather import Weather

START_MS = 1_760_000_000_000
DRAWN = Weather()
"""Stands for a weather that the seed decides."""
QUIET_STEPS = 6_000
"""After the last fault everything must come to its end within this many steps."""


@dataclass(slots=True)
class Taking:
    """A take-over on its way; whoever does it may freeze between any two of its steps."""

    restore: Restore
    read_to: int = 0


@dataclass(slots=True)
class World:
    """One run: `size` requests from `seed`. All randomness is drawn from it."""

    seed: int
    weather: Weather = DRAWN
    size: int = 40
    now_ms: int = START_MS
    calm: bool = False
    steps: int = 0
    rng: random.Random = field(init=False)
    journal: JournalModel = field(default_factory=JournalModel)
    plan: Plan = field(init=False)
    provider: ProviderModel = field(init=False)
    admission: AdmissionRules = field(init=False)
    window: Window = field(init=False)
    room: int = field(init=False)
    """Open jobs with which an owner takes no more records."""
    owner: Owner | None = None
    taking: Taking | None = None
    strangers: list[Owner | Taking] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    delivered: set[str] = field(default_factory=set)
    judged_offset: int = 0
    doom: Callable[[Owner], bool] | None = None
    """A crash is to come at such a moment."""
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        repeats = self.seed % 2 == 0
        if self.weather is DRAWN:
            self.weather = Weather(disturbed=self.rng.choice((0.005, 0.02, 0.06)))
        self.plan = Plan(self.rng, self.size, repeats, self.weather.hurried)
        self.provider = ProviderModel(self.rng, self.weather.unfetched)
        self.admission = AdmissionRules(
            files_per_task=self.rng.choice((1, 2, 100)), copied_headers=frozenset({"traceparent"})
        )
        self.room = self.rng.choice((3, 12, 100))
        self.window = Window(1e9, 10**6) if repeats else Window(1e9, 30)

    # The run

    def run(self) -> None:
        """Publish everything amid faults, then let it come to rest, then judge."""
        while not self.plan.is_complete or self.rng.random() > 0.01:
            self.step()
        self._compact()
        self._judge_end(self._come_to_rest())
        self.seen["billed and lost"] += self.provider.lost_after_accept
        self.seen["result expired"] += sum(each.code == "result_expired" for each in self.deliveries)

    def step(self) -> None:
        """One thing happens."""
        self.steps += 1
        if self.rng.random() < self.weather.disturbed:
            self._disturb()
        elif self.strangers and self.rng.random() < self.weather.strange:
            self._stranger_acts()
        elif not self.plan.is_complete and self.rng.random() < 0.04:
            self.plan.publish(self.now_ms)
        elif self.owner is None:
            self._take_over()
        elif not self._owner_acts(self.owner):
            self._pass_time(self.owner)

    def _disturb(self) -> None:
        draw = self.rng.random()
        if draw < 0.12:
            self._crash()
        elif draw < 0.30:
            self.doom = self.rng.choice((_writes, _writes_a_result, _writes_a_result))
        elif draw < 0.45:
            self._freeze()
        elif draw < 0.55:
            self.strangers = self.strangers[1:]
        elif draw < 0.75:
            self._compact()
        elif draw < 0.77:
            self.now_ms += self.rng.choice((3_600_000, DAY_MS, 2 * DAY_MS))
        else:
            self.now_ms += self.rng.choice((100, 1_000, 30_000))

    def _crash(self) -> None:
        """And for a while nobody may own the shard."""
        self.count("crash")
        self.owner = self.taking = None
        self.doom = None
        self.now_ms += self.rng.choice((0, 0, 0, 5_000, 60_000, 3_600_000))

    def _freeze(self) -> None:
        """Whoever owns the shard, or is about to, goes on later as if nothing had happened."""
        frozen = self.owner or self.taking
        if frozen is not None:
            self.count("frozen owner" if isinstance(frozen, Owner) else "frozen taker")
            self.strangers.append(frozen)
            self.owner = self.taking = None

    def _compact(self) -> None:
        """The lag of the compaction leaves an owner the time to mend what a stranger wrote."""
        if self.owner is None or self.owner.epoch < self.journal.highest:
            return
        self.owner.follow()
        if self.owner.is_clean:
            self.count("compaction")
            # Tombstones stay for a day (delete.retention.ms): no take-over lasts that long.
            reads = any(isinstance(stranger, Taking) for stranger in self.strangers)
            self.journal.compact(self.rng, self.now_ms, drop_tombstones=not reads and self.rng.random() < 0.5)

    def _owner_acts(self, owner: Owner) -> bool:
        actions = owner.actions()
        if not actions:
            return False
        self.now_ms += self.rng.choice((0, 1, 5, 40))
        self.rng.choice(actions)()
        if self.rng.random() < 0.05:
            owner.check_awake()
        if not owner.is_open:
            self.owner = None
        elif self.doom is not None and self.doom(owner) and self.rng.random() < 0.3:
            self._crash()
        return True

    def _stranger_acts(self) -> None:
        stranger = self.rng.choice(self.strangers)
        if isinstance(stranger, Taking):
            self.strangers.remove(stranger)
            if self.owner is not None:
                self.strangers.append(self.owner)
            self.count("thawed taker")
            self.owner = self._claim(stranger)
            return
        actions = stranger.actions()
        if actions:
            self.rng.choice(actions)()
        if not stranger.is_open:
            self.strangers.remove(stranger)

    def _pass_time(self, owner: Owner) -> None:
        owner.check_awake()
        due_ms = owner.next_due_ms()
        self.now_ms = max(self.now_ms + 1, due_ms) if due_ms is not None else self.now_ms + 1_000

    # Taking over

    def _take_over(self) -> None:
        """One half of a take-over: reading, or claiming and opening."""
        if self.taking is None:
            self.taking = Taking(Restore(TOPICS.journal, 0))
            self._read(self.taking)
        elif self.rng.random() < 0.1:
            self._freeze()
        else:
            taking, self.taking = self.taking, None
            self.owner = self._claim(taking)

    def _read(self, taking: Taking) -> None:
        for entry in self.journal.log:
            if entry.offset >= taking.read_to:
                taking.restore.add(entry.offset, entry.key, entry.value, entry.stamp)
        taking.read_to = self.journal.end

    def _claim(self, taking: Taking) -> Owner:
        """Claim until the claim is the highest at its own offset, then become what the journal says."""
        while True:
            epoch = taking.restore.epoch + 1
            before = self.journal.highest
            claim = Addressed(TOPICS, 0, epoch, f"member {epoch}").claim()
            offset = self.journal.append(claim, self.now_ms)
            self._read(taking)
            if before < epoch:
                return self._open(taking, epoch, offset)
            self.count("claimed again")

    def _open(self, taking: Taking, epoch: int, offset: int) -> Owner:
        restore = taking.restore
        self._judge_restore(restore)
        cursor = restore.cursor or Cursor(0)
        shard = Shard(0, self.window, OutcomeRules(), cursor)
        owner = Owner(self, shard, epoch, offset + 1)
        change = shard.load(restore, owner.moment())
        self.count("restored")
        if any(isinstance(entry, Marker) for entry in restore.entries.values()):
            self.count("restored with markers")
        for job in shard.jobs.values():
            if job.must_be_result:
                self.count("result to be fetched again")
        for move in change.moves:
            if move.outcome is not None:
                self.count("outcome decided by a restore")
        owner.put(change)
        return owner

    def _judge_restore(self, restore: Restore) -> None:
        """N6: what is restored is what the rightful owners wrote, compaction or not."""
        effective = self.journal.effective
        wanted = {key for key in effective if not key.startswith("~")}
        check(set(restore.entries) == wanted, f"N6: restored other keys: {set(restore.entries) ^ wanted}")
        for key, entry in restore.entries.items():
            check(entry == decode(key, effective[key]), f"N6: {key} is restored as {entry}")
        cursor = decode(CURSOR, effective[CURSOR]) if CURSOR in effective else None
        check(restore.cursor == cursor, f"N6: the cursor is restored as {restore.cursor}, not {cursor}")

    # What owners do to the world

    def deliver(self, record: Outgoing, epoch: int) -> int:
        """Take one record into its topic and judge it."""
        if record.topic == TOPICS.journal:
            let_go = len(self.journal.let_go)
            offset = self.journal.append(record, self.now_ms)
            for key, _ in self.journal.let_go[let_go:]:
                self._judge_let_go(key)
            if record.key == CURSOR.encode() and epoch == self.journal.highest and record.value:
                self._judge_cursor(json.loads(record.value)["next"])
            return offset
        headers = dict(record.headers)
        identity = headers["ce_id"].decode()
        is_job = identity in self.plan.owner_of_key
        announced = self.journal.announced.get((identity, epoch))
        check(announced is not None or not is_job, f"N1: {identity} is sent before its ending is durable")
        done = self.journal.done.get(identity)
        is_new = done is None or done.epoch >= epoch
        check(is_new, f"N1: {identity} was done by an owner before {epoch}, who sends it again")
        delivery = Delivery(
            identity,
            headers["ce_type"] == b"scribe.transcription.result.v1",
            json.loads(record.value or b""),
            bool(announced) if is_job else epoch == self.journal.highest,
            self.now_ms,
        )
        check(delivery.is_result == (record.topic == TOPICS.results), f"{identity} lies in the wrong topic")
        if not delivery.fenced:
            self.count("outcome of a stale owner")
        if identity in self.delivered:
            self.count("outcome repeated")
        self.deliveries.append(delivery)
        self.delivered.add(identity)
        return len(self.deliveries)

    def _judge_let_go(self, key: str) -> None:
        """N4: the list was read twice since the intent."""
        sealed_ms = max(at_ms for (of, _, _), at_ms in self.journal.intended_ms.items() if of == key)
        read = sum(sealed_ms <= at_ms <= self.now_ms for at_ms in self.provider.readings)
        check(read >= 2, f"N4: {key} is to be submitted again, and the list was read {read} times")
        self.count("uncertain, made again")

    def _judge_cursor(self, next_offset: int) -> None:
        judge_cursor(
            self.plan,
            self.journal,
            self.delivered,
            range(self.judged_offset, max(self.judged_offset, next_offset)),
        )
        self.judged_offset = max(self.judged_offset, next_offset)

    def posting(self, keys: Sequence[JobKey], epoch: int, attempts: Sequence[int]) -> None:
        """N2, N3, N10, at the last moment before a POST."""
        for key, attempt in zip(keys, attempts, strict=True):
            intended = self.journal.has_intent(str(key), epoch, attempt)
            check(intended, f"N2: {key} is posted, and its intent is not durable")
        files = {str(key): self.plan.owner_of_key[str(key)].urls[str(key)] for key in keys}
        self.provider.check_submit(files, self.plan.jobs_of_url, self.now_ms)
        self.count("POST")
        if epoch < self.journal.highest:
            self.count("POST of an owner that has been replaced")

    def count(self, what: str) -> None:
        """Note that something worth testing happened."""
        self.seen[what] += 1

    # The end

    def _come_to_rest(self) -> Owner:
        """No fault from here on: one last owner must bring everything to its end."""
        self.calm = self.provider.calm = True
        self.doom = None
        self.strangers.clear()
        last = self._last_owner()
        for _ in range(QUIET_STEPS):
            self.steps += 1
            if self._is_at_rest(last):
                return last
            if not self._owner_acts(last):
                self._pass_time(last)
        states = {str(key): str(job.state) for key, job in last.shard.jobs.items()}
        raise Violation(f"N1: still open after {QUIET_STEPS} quiet steps: {states}")

    def _last_owner(self) -> Owner:
        taking = Taking(Restore(TOPICS.journal, 0))
        self._read(taking)
        return self._claim(taking)

    def _is_at_rest(self, owner: Owner) -> bool:
        is_read = owner.durable_cursor.next_offset == len(self.plan.records)
        return is_read and owner.is_idle and not owner.shard.jobs

    def _judge_end(self, last: Owner) -> None:
        shard = last.shard
        judge_outcomes(self.plan, self.provider, self.deliveries)
        self.provider.judge_bill(self.plan.jobs_of_url, self.now_ms)
        shard.sweep(self.now_ms)
        check(shard.remembered_jobs <= self.window.jobs, f"N8: {shard.remembered_jobs} jobs are remembered")
        forgotten = set(shard.tallies) - set(shard.remembered)
        check(not forgotten, f"N8: {forgotten} will never be forgotten")
        assert OWNER in self.journal.effective


def _writes(owner: Owner) -> bool:
    """A batch is on its way."""
    return owner.flight is not None


def _writes_a_result(owner: Owner) -> bool:
    """A batch with a result is on its way."""
    moves = owner.flight.batch.moves if owner.flight else ()
    return any(move.outcome is not None and move.outcome.is_result for move in moves)
