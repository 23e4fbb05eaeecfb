"""An owner's uncertain submissions: what `service/pipeline/reconcile` does around the core, in two steps.

Between reading the list and deciding anything may happen. What is asked is kept by the boot clock.
"""

from typing import TYPE_CHECKING

from service.core.job.identity import SubmissionKey
from service.core.job.submission import Submission, SubmissionState
from service.core.provider.answers import ProviderError, TaskPage
from service.core.reconciliation.candidates import Candidates
from service.core.reconciliation.journal_scan import PartitionScan
from service.core.reconciliation.matching import Evidence, Proven, decide
from service.core.reconciliation.task_listing import TaskListing, TimeSpan, merged
from service.core.reconciliation.unanswered import Unanswered, unanswered_of, window_of, witness_of
from service.core.shard.state import ENDED_RETENTION_MS
from tests.unit.core.simulation.records import STAMP
from tests.unit.core.simulation.translate import page_of, view_of

if TYPE_CHECKING:
    from tests.unit.core.simulation.owner import ShardOwner

MOST_POLLS = 200


class Uncertain:
    """The submissions that are asked about, and what is known by now."""

    def __init__(self, owner: "ShardOwner") -> None:
        self.owner, self.place = owner, owner.place
        self.rules = owner.rules
        self.asked: dict[SubmissionKey, int] = {}
        """When each settles."""
        self.next_ms: int | None = None
        self.first_ms: dict[SubmissionKey, int] = {}
        self.candidates = Candidates()
        self.evidence = Evidence()
        self.scans: dict[int, PartitionScan] = {}
        self.is_read = False

    def ask(self, key: SubmissionKey, due_ms: int, settled_ms: int) -> None:
        """Look for the submission's task."""
        self.asked[key], self.first_ms[key] = settled_ms, due_ms
        self.next_ms = due_ms if self.next_ms is None else min(self.next_ms, due_ms)

    def due_ms(self) -> list[int]:
        """When the next pass begins."""
        self._forget()
        return [self.next_ms] if self.asked and self.next_ms is not None else []

    def actions(self) -> list[str]:
        """What could be done now."""
        if not self.asked and not self.is_read:
            return []
        self._forget()
        if self.is_read:
            return ["conclude"]
        is_due = bool(self.asked) and self.next_ms is not None and self.next_ms <= self.place.boot_ms
        return ["read"] if is_due else []

    def _forget(self) -> None:
        submissions = self.owner.shard.submissions
        self.asked = {
            key: settled_ms
            for key, settled_ms in self.asked.items()
            if key in submissions and submissions[key].state is SubmissionState.UNCERTAIN
        }

    def _spans(self) -> list[TimeSpan]:
        submissions, ahead_ms = self.owner.shard.submissions, self.owner.ahead_ms
        intents = (submissions[key].intent for key in self.asked if key in submissions)
        return merged(window_of(intent, ahead_ms, self.rules) for intent in intents if intent is not None)

    def _witnesses(self) -> dict[str, TimeSpan]:
        found = {}
        for submission in self.owner.shard.submissions.values():
            span = witness_of(submission, self.owner.now_ms, self.owner.ahead_ms, self.rules)
            if span is not None and submission.task_id is not None:
                found[submission.task_id] = span
        return found

    def read(self) -> None:
        """Read the whole list, or as far as it goes."""
        place = self.place
        reading = TaskListing(self._spans(), self._witnesses())
        for page_no in range(1, 1_000):
            page = page_of(place.provider.list(page_no))
            self.owner.hear()
            if not isinstance(page, TaskPage):
                reading.fail()
                break
            reading.add(page, place.provider.vendor_ms + 1000 * self.rules.skew_seconds)
            if reading.is_over:
                break
        apart_ms = round(1000 * self.rules.listings_apart_seconds)
        self.evidence = self.evidence.after(place.boot_ms, is_complete=reading.is_complete, apart_ms=apart_ms)
        self.candidates.add_listing(reading, self._spans())
        self.is_read = True

    def conclude(self) -> None:
        """Read on in the journals, poll tasks that nobody knows, decide."""
        self.is_read = False
        self._forget()
        scans = self._scan()
        for scan in scans:
            self.candidates.note_known(scan.known(self.candidates.wanted()))
        for task_id in self.candidates.to_poll()[:MOST_POLLS]:
            view = view_of(self.place.provider.query(task_id))
            if isinstance(view, ProviderError):
                self.candidates.note_no_answer(task_id)
            else:
                self.candidates.note_polled(view)
        self._decide(scans)
        self._forget()
        next_poll_ms = self.rules.reconcile_schedule.next_poll_ms
        times = [next_poll_ms(self.first_ms[key], self.place.boot_ms) for key in self.asked]
        self.next_ms = min(times, default=None)

    def _scan(self) -> list[PartitionScan]:
        """The journals, from where the last pass ended; from the beginning for earlier tasks than before."""
        spans = self._spans()
        if not self.candidates.wanted() or not spans:
            return []
        as_of_ms = self.place.provider.vendor_ms - 1000 * self.rules.skew_seconds
        since_ms = spans[0][0] - ENDED_RETENTION_MS
        return [self._caught_up(each, since_ms, as_of_ms) for each in range(self.place.settings.partitions)]

    def _caught_up(self, partition: int, since_ms: float, as_of_ms: float) -> PartitionScan:
        scan = self.scans.get(partition)
        if scan is None or since_ms < scan.since_ms:
            scan = self.scans[partition] = PartitionScan(partition, self.rules, since_ms)
        scan.forget_before(since_ms)
        for entry in self.place.journal(partition):
            if entry.offset >= scan.position:
                stamp = dict(entry.headers)[STAMP]
                scan.add(entry.offset, entry.key, entry.value, stamp, entry.at_ms, is_brokers_time=True)
        scan.position = max(scan.position, self.place.journal_end(partition))
        scan.complete(as_of_ms)
        return scan

    def _decide(self, scans: list[PartitionScan]) -> None:
        shard, own, ahead_ms = self.owner.shard, self.place.partition, self.owner.ahead_ms
        self.candidates.note_known(shard.task_ids())
        found = [
            unanswered_of(own, each, ahead_ms, self.rules, shard.file_urls(each))
            for each in shard.submissions.values()
        ]
        found += [
            unanswered_of(scan.partition, each, ahead_ms, self.rules)
            for scan in scans
            for each in self._others(scan)
        ]
        unanswered: list[Unanswered] = [each for each in found if each is not None]
        settled_ms = {(own, key): each_ms for key, each_ms in self.asked.items()}
        gaps = [gap for scan in scans for gap in scan.gaps()]
        ending_ms = self.owner.context().ending_ms
        proven = Proven(self.evidence, settled_ms, self.place.provider.vendor_ms, ending_ms, self.rules)
        for each, event in decide(unanswered, self.candidates.candidates(), gaps, proven).items():
            if each.partition == own and each.key in self.asked:
                self.place.count(f"uncertain: {type(event).__name__}")
                self.owner.on_submission(each.key, event)

    def _others(self, scan: PartitionScan) -> list[Submission]:
        """Submissions that are not ours; of our own shard the memory counts."""
        found = scan.unanswered()
        if scan.partition != self.place.partition:
            return found
        ours = self.owner.shard.submissions
        return [each for each in found if each.state is SubmissionState.INTENDED and each.key not in ours]
