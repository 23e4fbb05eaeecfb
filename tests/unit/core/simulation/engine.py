"""The engine, as the simulation begins with it: a journal that is read, a claim, an owner.

With `owner`, `doubtful` and `records` this is all that knows how the engine is built.
"""

from service.core.entry import Marker, decode
from service.core.outcomes import OutcomeRules
from service.core.record import Cursor
from service.core.restore import Restore
from service.core.shard import Shard, Window
from service.kafka.addressed import Addressed
from service.kafka.outgoing import Outgoing
from tests.unit.core.simulation.journal import JournalModel, check
from tests.unit.core.simulation.owner import TOPICS, Owner, Surroundings
from tests.unit.core.simulation.records import CURSOR


class Taking:
    """A take-over on its way; whoever does it may freeze between any two of its steps."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.restore = Restore(TOPICS.journal, 0)
        self.read_to = 0

    @property
    def epoch(self) -> int:
        """The highest that was read."""
        return self.restore.epoch

    def read(self, journal: JournalModel) -> None:
        """Read on to the journal's end."""
        for entry in journal.log:
            if entry.offset >= self.read_to:
                self.restore.add(entry.offset, entry.key, entry.value, entry.stamp)
        self.read_to = journal.end

    def judge(self, journal: JournalModel) -> None:
        """N6: what is restored is what the rightful owners wrote, compaction or not."""
        restore, effective = self.restore, journal.effective
        wanted = {key for key in effective if not key.startswith("~")}
        check(set(restore.entries) == wanted, f"N6: restored other keys: {set(restore.entries) ^ wanted}")
        for key, entry in restore.entries.items():
            check(entry == decode(key, effective[key]), f"N6: {key} is restored as {entry}")
        cursor = decode(CURSOR, effective[CURSOR]) if CURSOR in effective else None
        check(restore.cursor == cursor, f"N6: the cursor is restored as {restore.cursor}, not {cursor}")

    def opened(self, around: Surroundings, remembered_jobs: int, epoch: int, offset: int) -> Owner:
        """The owner that it becomes, with the claim of `epoch` at `offset`."""
        restore = self.restore
        shard = Shard(0, Window(1e9, remembered_jobs), OutcomeRules(), restore.cursor or Cursor(0))
        owner = Owner(around, shard, epoch, offset + 1)
        change = shard.load(restore, owner.moment())
        around.count("restored")
        if any(isinstance(entry, Marker) for entry in restore.entries.values()):
            around.count("restored with markers")
        for job in shard.jobs.values():
            if job.must_be_result:
                around.count("result to be fetched again")
        for move in change.moves:
            if move.outcome is not None:
                around.count("outcome decided by a restore")
        owner.put(change)
        return owner


def claim_of(epoch: int) -> Outgoing:
    """The record with which an owner begins."""
    return Addressed(TOPICS, 0, epoch, f"member {epoch}").claim()
