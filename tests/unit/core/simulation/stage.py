"""The stage of the simulation: topics, provider and owners, and each act that may happen to them, by name.

Who decides what happens next is not here: `world` draws it from a seed, `replay` reads it from a script.
"""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from service.core.admission import AdmissionRules
from service.core.identity import JobKey
from service.kafka.outgoing import Outgoing
from tests.unit.core.simulation.chance import Chance, Json
from tests.unit.core.simulation.engine import Taking, claim_of
from tests.unit.core.simulation.journal import Delivery, JournalModel, check
from tests.unit.core.simulation.oracle import judge_cursor, judge_outcomes
from tests.unit.core.simulation.owner import TOPICS, Owner
from tests.unit.core.simulation.plan import Headers, Meaning, Plan
from tests.unit.core.simulation.provider import ProviderModel
from tests.unit.core.simulation.records import OWNER, cursor_in
from tests.unit.core.simulation.weather import Weather

START_MS = 1_760_000_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for a whole run."""

    files_per_task: int
    room: int
    """Open jobs with which an owner takes no more records."""
    remembered_jobs: int
    """How many finished jobs the window holds."""
    ahead_ms: int
    """How far the vendor's clock is ahead."""


class Stage:
    """One run: what there is, what may happen, and what is judged as it happens."""

    def __init__(self, settings: Settings, chance: Chance, plan: Plan, weather: Weather) -> None:
        self.settings, self.chance, self.plan, self.weather = settings, chance, plan, weather
        self.now_ms = START_MS
        self.calm = False
        self.journal = JournalModel()
        self.provider = ProviderModel(chance, weather.unfetched, settings.ahead_ms, noted=self.journal.tasks)
        self.admission = AdmissionRules(
            files_per_task=settings.files_per_task, copied_headers=frozenset({"traceparent"})
        )
        self.room = settings.room
        self.owner: Owner | None = None
        self.taking: Taking | None = None
        self.takings = 0
        self.strangers: list[Owner | Taking] = []
        self.deliveries: list[Delivery] = []
        self.delivered: set[str] = set()
        self.judged_offset = 0
        self.rest_step: int | None = None
        """Steps until everything was left to come to rest."""
        self.seen: Counter[str] = Counter()

    # What may happen

    def publish(
        self,
        value: bytes | None,
        key: bytes | None,
        meaning: Meaning,
        headers: Headers = (),
    ) -> None:
        """A record comes into the request topic."""
        how: dict[str, Json] = {"value": _told(value), "key": _told(key), "meaning": meaning.value}
        how["headers"] = [[name, _told(of)] for name, of in headers]
        self.chance.begin(self.now_ms, "publish", **how)
        self.plan.add(self.now_ms, value, key, meaning, headers)

    def crash(self) -> None:
        """Whoever owns the shard, or is about to, is gone."""
        self.chance.begin(self.now_ms, "crash")
        self.count("crash")
        self.owner = self.taking = None

    def freeze(self) -> None:
        """Whoever owns the shard, or is about to, goes on later as if nothing had happened."""
        frozen = self.owner or self.taking
        if frozen is not None:
            self.chance.begin(self.now_ms, "freeze")
            self.count("frozen owner" if isinstance(frozen, Owner) else "frozen taker")
            self.strangers.append(frozen)
            self.owner = self.taking = None

    def kill_stranger(self) -> None:
        """The one that froze first never thaws."""
        self.chance.begin(self.now_ms, "kill stranger")
        self.strangers = self.strangers[1:]

    def compact(self) -> None:
        """The lag of the compaction leaves an owner the time to mend what a stranger wrote."""
        if self.owner is None or self.owner.epoch < self.journal.highest:
            return
        self.chance.begin(self.now_ms, "compact")
        self.owner.follow()
        if self.owner.is_clean:
            self.count("compaction")
            # Tombstones stay for a day (delete.retention.ms): no take-over lasts that long.
            reads = any(isinstance(stranger, Taking) for stranger in self.strangers)
            drops = not reads and self.chance.ask("drop", "tombstones", lambda rng: rng.random() < 0.5, False)
            limit = self.journal.may_compact_to(self.now_ms)
            border = self.chance.ask("border", "", lambda rng: rng.randint(0, limit), 0)
            self.journal.compact(min(border, limit), drop_tombstones=drops)

    def act(self, owner: Owner, name: str) -> None:
        """An owner does one thing, if it can."""
        self.chance.begin(self.now_ms, name, epoch=owner.epoch)
        owner.act(name)
        if not owner.is_open:
            self._retire(owner)

    def _retire(self, owner: Owner) -> None:
        if owner is self.owner:
            self.owner = None
        elif owner in self.strangers:
            self.strangers.remove(owner)

    def read(self) -> None:
        """The first half of a take-over: the journal is read."""
        self.chance.begin(self.now_ms, "restore")
        self.takings += 1
        self.taking = Taking(self.takings)
        self.taking.read(self.journal)

    def claim(self, taking: Taking) -> Owner:
        """The second half: it claims and opens. Who thaws for that makes a stranger of the owner."""
        self.chance.begin(self.now_ms, "claim", taking=taking.number)
        if taking is self.taking:
            self.taking = None
        else:
            self.strangers.remove(taking)
            if self.owner is not None:
                self.strangers.append(self.owner)
            self.count("thawed taker")
        self.owner = self._claim(taking)
        return self.owner

    # Taking over

    def _claim(self, taking: Taking) -> Owner:
        """Claim until the claim is the highest at its own offset, then become what the journal says."""
        while True:
            epoch = taking.epoch + 1
            before = self.journal.highest
            offset = self.journal.append(claim_of(epoch), self.now_ms)
            taking.read(self.journal)
            if before < epoch:
                taking.judge(self.journal)
                return taking.opened(self, self.settings.remembered_jobs, epoch, offset)
            self.count("claimed again")

    # What owners do to the world

    def deliver(self, record: Outgoing, epoch: int) -> int:
        """Take one record into its topic and judge it."""
        if record.topic == TOPICS.journal:
            let_go = len(self.journal.let_go)
            offset = self.journal.append(record, self.now_ms)
            for key, _ in self.journal.let_go[let_go:]:
                self._judge_let_go(key)
            next_offset = cursor_in(record.key.decode(), record.value)
            if next_offset is not None and epoch == self.journal.highest:
                self._judge_cursor(next_offset)
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
        urls = set(files.values())
        if sum(not urls.isdisjoint(asked.urls.values()) for asked in self.plan.asked.values()) > 1:
            self.count("POST of a file that another request has")
        if epoch < self.journal.highest:
            self.count("POST of an owner that has been replaced")

    def count(self, what: str) -> None:
        """Note that something worth testing happened."""
        self.seen[what] += 1

    # The end

    def begin_to_rest(self) -> Owner:
        """No fault from here on: one last owner must bring everything to its end."""
        self.calm = self.provider.calm = True
        self.rest_step = self.chance.steps
        self.strangers.clear()
        self.read()
        assert self.taking is not None
        return self.claim(self.taking)

    def is_at_rest(self, owner: Owner) -> bool:
        """Whether everything has come to its end."""
        is_read = owner.durable_cursor.next_offset == len(self.plan.records)
        return is_read and owner.is_done

    def judge_end(self, last: Owner) -> None:
        """What must be true when everything has come to its end."""
        self.seen["billed and lost"] += self.provider.lost_after_accept
        self.seen["result expired"] += sum(each.code == "result_expired" for each in self.deliveries)
        judge_outcomes(self.plan, self.provider, self.deliveries)
        self.provider.judge_bill(self.plan.jobs_of_url, self.now_ms)
        last.judge_memory()
        assert OWNER in self.journal.effective


def _told(value: bytes | None) -> str | None:
    """Bytes as JSON knows them: text that is ASCII as it is, else in base 64."""
    if value is None:
        return None
    return value.decode() if value.isascii() else f"base64:{b64encode(value).decode()}"
