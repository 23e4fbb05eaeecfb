"""The engine behind the simulation's port.

With `owner`, `uncertain`, `hotwords`, `writing`, `translate` and `records` this is all that knows how it is
built.
"""

from collections.abc import Mapping

from service.core.job.accepted_request import FinishedRequest
from service.core.job.identity import JobRef, SubmissionKey, read_key
from service.core.job.request_record import Cursor
from service.core.job.submission import Submission
from service.core.journal.entries import JobEntry, decode, encode_cursor, encode_owner, encode_spend
from service.core.journal.entries import OwnerEntry as Claim
from service.core.journal.replay import Restore
from service.core.journal.stamp import SPEND_PREFIX, Stamp, cursor_key, owner_key, spend_key
from service.core.limits.spend_limit import DaySpend
from service.core.shard.shard import Shard
from service.core.shard.state import Window
from service.kafka.writing.shard_records import journal_record
from tests.unit.core.simulation.owner import ShardOwner
from tests.unit.core.simulation.packing import is_of_several
from tests.unit.core.simulation.port import End, Engine, Owner, Place, Reader, Taking, check
from tests.unit.core.simulation.records import CURSOR, STAMP, JournalReader
from tests.unit.core.simulation.writing import TOPICS


class JournalTaking:
    """A take-over on its way."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.restore = Restore(TOPICS.journal, place.partition)
        self.read_to = 0
        self.producer = 0

    def read(self) -> None:
        """Read on to the journal's end."""
        self._read(self.place.journal_end(self.place.partition))

    def _read(self, end: int) -> None:
        for entry in self.place.journal(self.place.partition):
            if self.read_to <= entry.offset < end:
                self.restore.add(entry.offset, entry.key, entry.value, dict(entry.headers)[STAMP])
        self.read_to = max(self.read_to, end)

    def claim(self) -> Owner:
        """Claim until the claim is the highest at its own offset, then become what the journal says."""
        while True:
            if self.place.settings.delivery == "exactly_once":
                self.producer = self.place.broker.fence()
            offset = self._claimed()
            cursor = self.restore.cursor or Cursor(0)
            if self._tidied(cursor):
                self._judge(offset)
                return self._opened(cursor, offset)
            self.place.count("take-over begun again")
            self.read()

    def _claimed(self) -> int:
        while True:
            epoch = self.restore.epoch + 1
            offset = self._append({owner_key(epoch): encode_owner(Claim(epoch, f"member {epoch}"))}, epoch)
            assert offset is not None
            self._read(offset)
            highest_before = self.restore.epoch
            self._read(offset + 1)
            if highest_before < epoch:
                return offset
            self.place.count("claimed again")

    def _tidied(self, cursor: Cursor) -> bool:
        """Write cursor and spending under our keys, then delete former owners'; whether ours arrived."""
        epoch = self.restore.epoch
        own: dict[str, bytes | None] = {cursor_key(epoch): encode_cursor(cursor)}
        if self.restore.spend != DaySpend():
            own[spend_key(epoch)] = encode_spend(self.restore.spend)
        if self._append(own, epoch) is None:
            return False
        self._append(dict.fromkeys(self.restore.superseded()), epoch)
        return True

    def _append(self, entries: Mapping[str, bytes | None], epoch: int) -> int | None:
        """Write the entries in one send; their last offset, None if one of them is not acknowledged."""
        stamp, partition = Stamp(epoch, 0), self.place.partition
        records = [journal_record(TOPICS.journal, partition, *entry, stamp) for entry in entries.items()]
        if not records:
            return None
        if self.place.settings.delivery == "exactly_once":
            end = self.place.broker.commit(self.producer, records)
            return None if isinstance(end, End) else end[-1]
        offsets = [self.place.broker.append(record) for record in records]
        return None if None in offsets else offsets[-1]

    def _judge(self, claim_offset: int) -> None:
        """N6: what is restored is what the rightful owners wrote, compaction or not."""
        effective, highest, overwritten = self._effective(claim_offset)
        wanted = {key for key in effective if not key.startswith("~")}
        restore = self.restore
        found = {key for key in restore.entries if not key.startswith("~")}
        lost = {key for key in wanted - found if key in overwritten and _is_over(key, effective)}
        if lost:
            self.place.count("a stranger's word on a submission that is over")
        check(found == wanted - lost, f"N6: restored other keys: {sorted(found ^ wanted - lost)}")
        for key in sorted(found):
            if key in overwritten and _is_over(key, effective):
                # Once the claim before it is gone, the stranger's word may count: its task is polled again.
                continue
            told = f"N6: {key} is restored as {restore.entries[key]}"
            check(restore.entries[key] == decode(key, effective[key]), told)
        cursor, spend = self._last(claim_offset, CURSOR), self._last(claim_offset, SPEND_PREFIX)
        check(restore.cursor == cursor, f"N6: the cursor is restored as {restore.cursor}, not {cursor}")
        check(restore.spend == (spend or DaySpend()), f"N6: {restore.spend} is restored, not {spend}")
        check(restore.epoch == highest, f"N6: the highest epoch is restored as {restore.epoch}")

    def _last(self, claim_offset: int, prefix: str) -> object:
        """What the owner that counts said last under these keys, whatever compaction has left of it."""
        said, highest = None, 0
        for entry in self.place.history(self.place.partition):
            if entry.offset <= claim_offset and entry.epoch >= highest:
                highest = entry.epoch
                if entry.key.startswith(prefix) and entry.value is not None:
                    said = decode(entry.key, entry.value)
        return said

    def _effective(self, claim_offset: int) -> tuple[dict[str, bytes], int, set[str]]:
        """What the whole history up to the claim says, of which compaction has left a part.

        Last, the keys over which a stranger wrote behind that.
        """
        effective: dict[str, bytes] = {}
        overwritten: set[str] = set()
        highest = 0
        for entry in self.place.history(self.place.partition):
            if entry.offset > claim_offset:
                break
            if entry.epoch < highest:
                overwritten.add(entry.key)
                continue
            highest = entry.epoch
            overwritten.discard(entry.key)
            if entry.value is None:
                effective.pop(entry.key, None)
            else:
                effective[entry.key] = entry.value
        return effective, highest, overwritten

    def _opened(self, cursor: Cursor, claim_offset: int) -> ShardOwner:
        """The owner that it becomes."""
        place, restore = self.place, self.restore
        window = Window(place.settings.window_seconds, place.settings.remembered_jobs)
        shard = Shard(
            place.partition, restore.epoch, cursor, window, files_per_task=place.settings.files_per_task
        )
        owner = ShardOwner(place, shard, self.producer, claim_offset)
        change = shard.load(restore, owner.context())
        place.count("restored")
        if shard.finished:
            place.count("restored with finished requests")
        for submission in shard.submissions.unanswered():
            if is_of_several(shard, submission.key):
                place.count("restored intent of several requests")
        for job in shard.jobs.values():
            if job.must_be_result:
                place.count("result to be fetched again")
        for group in change.groups:
            if group.outcomes:
                place.count("outcome decided by a restore")
        owner.put(change)
        return owner


def _is_over(key: str, effective: Mapping[str, bytes]) -> bool:
    """Whether the record's submission has no job any more: over such a one nothing is mended."""
    submission = decode(key, effective[key])
    if not isinstance(submission, Submission) or submission.is_followed:
        return False
    keys = (read_key(text) for text in effective if text.startswith("s/"))
    later = [each for each in keys if isinstance(each, SubmissionKey) and each > submission.key]
    named = (decode(str(each), effective[str(each)]) for each in later)
    elsewhere = {ref for each in named if isinstance(each, Submission) for ref in each.jobs}
    return not any(ref not in elsewhere and _is_open(ref, effective) for ref in submission.jobs)


def _is_open(ref: JobRef, effective: Mapping[str, bytes]) -> bool:
    request, own = effective.get(str(ref.origin)), effective.get(str(ref))
    if request is None or isinstance(decode(str(ref.origin), request), FinishedRequest):
        return False
    entry = None if own is None else decode(str(ref), own)
    return not (isinstance(entry, JobEntry) and (entry.end or entry.ending))


class ShardEngine:
    """The engine as the simulation begins with it."""

    def take(self, place: Place) -> Taking:
        """Read, then claim."""
        return JournalTaking(place)

    def reader(self) -> Reader:
        """Of format 2."""
        return JournalReader()


ENGINE: Engine = ShardEngine()
