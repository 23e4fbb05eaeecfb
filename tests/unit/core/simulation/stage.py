"""The stage of the simulation: topics, provider and owners, and each act that may happen to them, by name.

Who decides what happens next is not here: `world` draws it from a seed, `replay` reads it from a script.
"""

from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Mapping
from urllib.parse import unquote

from tests.unit.core.simulation.chance import Chance, Json
from tests.unit.core.simulation.engine import ENGINE
from tests.unit.core.simulation.journal import JournalModel
from tests.unit.core.simulation.ledger import Ledger
from tests.unit.core.simulation.oracle import judge_cursor, judge_outcomes
from tests.unit.core.simulation.plan import Asked, Meaning, Plan
from tests.unit.core.simulation.port import Delivery, Engine, Headers, Owner, Post, Settings, Taking, check
from tests.unit.core.simulation.provider import ProviderModel
from tests.unit.core.simulation.shard import Shard, Spot, Stranger
from tests.unit.core.simulation.weather import Weather

START_MS = 1_760_000_000_000
LATE_MS = 15_000
"""How long after a job's deadline a POST of it may go out that was decided before."""


class Stage:
    """One run: what there is, what may happen, and what is judged as it happens."""

    def __init__(
        self, settings: Settings, chance: Chance, plan: Plan, weather: Weather, engine: Engine = ENGINE
    ) -> None:
        self.settings, self.chance, self.plan, self.weather = settings, chance, plan, weather
        self.engine = engine
        plan.remembers, plan.clock_slack_ms = settings.remembers, settings.clock_slack_ms
        plan.records = [[] for _ in range(settings.partitions)]
        plan.topic = [[] for _ in range(settings.partitions)]
        self.now_ms = START_MS
        """True time."""
        self.calm = False
        tasks: set[str] = set()
        self.ledger = Ledger(tasks)
        self.provider = ProviderModel(
            chance, self.ledger, lambda: self.now_ms, self.judge_post, weather.unfetched, settings.ahead_ms
        )
        self.shards = [
            Shard(self, number, JournalModel(engine.reader(), tasks)) for number in range(settings.partitions)
        ]
        self.deliveries: list[Delivery] = []
        self.told: defaultdict[str, list[Delivery]] = defaultdict(list)
        """The deliveries of each job, by its name in the ledger, and of each record."""
        self.cancelled_ms: dict[str, int] = {}
        """From when on a job may end in no other way any more, by its name."""
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
        partition: int = 0,
    ) -> None:
        """A record comes into the request topic."""
        how: dict[str, Json] = {"value": _told(value), "key": _told(key), "meaning": meaning.value}
        how["headers"] = [[name, _told(of)] for name, of in headers]
        self._begin("publish", partition, **how)
        self.plan.add(self.now_ms, value, key, meaning, headers, partition)

    def _begin(self, act: str, partition: int, **how: Json) -> None:
        self.chance.begin(self.now_ms, act, **how, **({"on": partition} if partition else {}))

    def crash(self, shard: Shard) -> None:
        """Whoever owns the shard, or is about to, is gone."""
        self._begin("crash", shard.partition)
        self.count("crash")
        shard.owner = shard.taking = shard.spot = None

    def freeze(self, shard: Shard) -> None:
        """Whoever owns the shard, or is about to, goes on later as if nothing had happened."""
        if shard.spot is not None:
            self._begin("freeze", shard.partition)
            self.count("frozen owner" if shard.owner else "frozen taker")
            shard.strangers.append(Stranger(shard.spot, shard.owner, shard.taking))
            shard.owner = shard.taking = shard.spot = None

    def kill_stranger(self, shard: Shard) -> None:
        """The one that froze first never thaws."""
        self._begin("kill stranger", shard.partition)
        shard.strangers = shard.strangers[1:]

    def drain(self, shard: Shard) -> None:
        """The owner is to stop."""
        if shard.owner is not None:
            self._begin("drain", shard.partition)
            self.count("drain")
            shard.owner.drain()
            self._retire(shard, shard.owner)

    def step_clock(self, shard: Shard, skew_ms: int) -> None:
        """The wall clock under the owner is off by so much from here on."""
        if shard.spot is not None:
            self._begin("step clock", shard.partition, skew=skew_ms)
            self.count("clock step forward" if skew_ms > shard.spot.skew_ms else "clock step backward")
            shard.spot.skew_ms = skew_ms

    def compact(self, shard: Shard) -> None:
        """The lag of the compaction leaves an owner the time to mend what a stranger wrote.

        Where nobody owns the partition for longer, what belongs to the shard itself is safe all the same.
        """
        owner, journal = shard.owner, shard.journal
        self._begin("compact", shard.partition)
        if owner is None or owner.epoch < journal.highest:
            self.count("compaction without an owner")
            limit = journal.may_compact_to(self.now_ms)
            boundary = self.chance.ask("border", "", lambda rng: rng.randint(0, limit), 0)
            journal.compact(min(boundary, limit), only="~", drop_tombstones=False)
            return
        owner.act("follow")
        if owner.is_clean:
            self.count("compaction")
            # Tombstones stay for a day (delete.retention.ms): no take-over lasts that long.
            reads = any(stranger.taking for stranger in shard.strangers)
            drops = not reads and self.chance.ask("drop", "tombstones", lambda rng: rng.random() < 0.5, False)
            limit = journal.may_compact_to(self.now_ms)
            boundary = self.chance.ask("border", "", lambda rng: rng.randint(0, limit), 0)
            journal.compact(min(boundary, limit), drop_tombstones=drops)

    def act(self, shard: Shard, owner: Owner, name: str) -> None:
        """An owner does one thing, if it can."""
        self._begin(name, shard.partition, epoch=owner.epoch)
        owner.act(name)
        self._retire(shard, owner)

    def _retire(self, shard: Shard, owner: Owner) -> None:
        """Let go of who was fenced, or has drained."""
        if owner.is_open and not owner.is_drained:
            return
        if owner.is_open:
            self.count("drained")
        if owner is shard.owner:
            shard.owner = shard.spot = None
        shard.strangers = [each for each in shard.strangers if each.owner is not owner]

    def read(self, shard: Shard, skew_ms: int = 0) -> None:
        """The first half of a take-over: the journal is read."""
        self._begin("restore", shard.partition, **({"skew": skew_ms} if skew_ms else {}))
        shard.taken += 1
        shard.spot = Spot(self, shard, skew_ms)
        shard.taking = self.engine.take(shard.spot)
        shard.takings[shard.taken] = (shard.taking, shard.spot)
        shard.taking.read()

    def claim(self, shard: Shard, taking: Taking) -> Owner:
        """The second half: it claims and opens. Who thaws for that makes a stranger of the owner."""
        number, spot = next((at, of[1]) for at, of in shard.takings.items() if of[0] is taking)
        self._begin("claim", shard.partition, taking=number)
        if taking is not shard.taking:
            shard.strangers = [each for each in shard.strangers if each.taking is not taking]
            if shard.owner is not None and shard.spot is not None:
                shard.strangers.append(Stranger(shard.spot, shard.owner))
            self.count("thawed taker")
        else:
            shard.taking = None
        del shard.takings[number]
        shard.spot = spot
        shard.owner = taking.claim()
        return shard.owner

    # What is judged as it happens

    def deliver(self, shard: Shard, delivery: Delivery) -> None:
        """An outcome lies in its topic."""
        asked = self.plan.of_delivery(delivery)
        name = delivery.id if asked is None else asked.name(delivery.id)
        if not delivery.fenced:
            self.count("outcome of a stale owner")
        if self.told[name]:
            self.count("outcome repeated")
            is_once = self.settings.delivery == "exactly_once"
            check(not is_once, f"N1: {name} is published twice by a writer that publishes once")
        elif asked is not None:
            self._judge_cancelled(shard, name, delivery)
        if delivery.code in ("deadline_exceeded", "cancelled") and asked is not None:
            self.count(f"{delivery.code}: {self.phase_of_job(asked, delivery.id)}")
        self.deliveries.append(delivery)
        self.told[name].append(delivery)

    def _judge_cancelled(self, shard: Shard, name: str, delivery: Delivery) -> None:
        """Once its cancel is behind the durable cursor, a job that is open ends as cancelled."""
        since_ms = self.cancelled_ms.get(name)
        announced_ms = shard.journal.announced_at.get(delivery.id, self.now_ms)
        if since_ms is not None and delivery.fenced and announced_ms > since_ms:
            check(delivery.code == "cancelled", f"N1: {name} was cancelled, and ends as {delivery.kind}")

    def judge_cursor(self, shard: Shard, cursor: int) -> None:
        """N5 for all records that it passes; their cancels count from now on."""
        passed = self.plan.records[shard.partition][shard.cursor : cursor]
        judge_cursor(passed, shard.journal, self.told)
        offsets = {planned.record.offset for planned in passed}
        for asked in self.plan.all() if offsets else ():
            if any(of.partition == shard.partition and of.offset in offsets for of in asked.cancels):
                for job in asked.urls:
                    self.cancelled_ms.setdefault(asked.name(job), self.now_ms)

    def judge_post(self, post: Post) -> Mapping[str, str]:
        """N2, N3, N10, at the last moment before a POST; returns the ledger's names of its jobs."""
        asked = {job: self.plan.of_job(job) for job in post.files}
        names = {job: of.name(job) for job, of in asked.items()}
        urls = {unquote(url) for url in post.files.values()}
        check(len(urls) == len(post.files), "N1: one URL twice in a task")
        content = self.ledger.lists.get(post.vocabulary_id or "", (post.model, ()))
        for job, of in asked.items():
            journal = self.shards[of.record.partition].journal
            intended = journal.has_intent(job, post.epoch, post.intents[job])
            check(intended, f"N2: {job} is posted, and its intent is not durable")
            check(post.files[job] == of.urls[job], f"N1: {job} is posted with another file")
            check((of.model, of.words) == content, f"N1: {job} is posted with {content}")
            # A result that was announced and lost is called for again, whatever the time.
            is_late = self.now_ms > of.deadline_ms + LATE_MS and job not in journal.announced_at
            check(not is_late, f"N13: {job} is posted after its deadline")
            self._count_post(job, of, post, journal)
        files = {names[job]: url for job, url in post.files.items()}
        if self.ledger.is_call(post.model):
            [name] = files
            self.ledger.check_call(name, post.epoch)
        else:
            self.ledger.check_submit(files, self.plan.jobs_of_url, self.now_ms)
        self.count("POST")
        if len({of.request for of in asked.values()}) > 1:
            self.count("POST of several requests")
        for name in files:
            self.ledger.posted.setdefault(name, []).append(frozenset(files.values()))
        return names

    def _count_post(self, job: str, asked: Asked, post: Post, journal: JournalModel) -> None:
        if self.plan.requests_of_url[post.files[job]] > 1:
            self.count("POST of a file that another request has")
        if list(asked.urls.values()).count(post.files[job]) > 1:
            self.count("POST of a file that its request has twice")
        if post.epoch < journal.highest:
            self.count("POST of an owner that has been replaced")
        if self.ledger.is_call(asked.model):
            self.count("call again" if asked.name(job) in self.ledger.calls else "call")
        if post.vocabulary_id:
            self.count("POST with a hotword list")
        if asked.number:
            self.count("POST of an id used again")
        if asked.request[1]:
            self.count("POST of a replay")

    def count(self, what: str) -> None:
        """Note that something worth testing happened."""
        self.seen[what] += 1

    # What the topics and the ledger tell

    def phase_of(self, asked: Asked) -> str:
        """How far a request is: of its files the one that is the least far."""
        phases = [self.phase_of_job(asked, job) for job in asked.urls]
        ended = phases.count("ended")
        return "ended in part" if 0 < ended < len(phases) else min(phases)

    def phase_of_job(self, asked: Asked, job: str) -> str:
        """How far a job is."""
        name = asked.name(job)
        word = self.shards[asked.record.partition].journal.words.get(job)
        if self.told[name]:
            return "ended"
        if self.ledger.by_name.get(name):
            return f"task {self.ledger.by_name[name][-1].status(self.now_ms).lower()}"
        if self.ledger.posted.get(name):
            return "posted without a task"
        return "published" if word is None else word.name.lower()

    def is_forgotten(self, asked: Asked) -> bool:
        """Whether the request was taken, and has left the window for good."""
        shard = self.shards[asked.record.partition]
        is_taken = shard.cursor > asked.record.offset
        return is_taken and all(shard.journal.is_forgotten(job) for job in asked.urls)

    # The end

    def begin_to_rest(self) -> list[tuple[Shard, Owner]]:
        """No fault from here on: one last owner of each shard must bring everything to its end."""
        self.calm = self.provider.calm = True
        self.rest_step = self.chance.steps
        last = []
        for shard in self.shards:
            shard.strangers.clear()
            self.read(shard)
            assert shard.taking is not None
            last.append((shard, self.claim(shard, shard.taking)))
        return last

    def judge_end(self) -> None:
        """What must be true when everything has come to its end."""
        self.seen["billed and lost"] += self.ledger.lost_after_accept
        self.seen["result expired"] += sum(each.code == "result_expired" for each in self.deliveries)
        judge_outcomes(self.plan, self.ledger, self.told, self._intents_of)
        self.ledger.judge_bill(self.plan.jobs_of_url, self.now_ms)
        for shard in self.shards:
            assert shard.owner is not None
            assert shard.journal.claims
            shard.owner.judge_memory()

    def _intents_of(self, job: str) -> int:
        return self.shards[self.plan.of_job(job).record.partition].journal.intents_of(job)


def _told(value: bytes | None) -> str | None:
    """Bytes as JSON knows them: text that is ASCII as it is, else in base 64."""
    if value is None:
        return None
    return value.decode() if value.isascii() else f"base64:{b64encode(value).decode()}"
