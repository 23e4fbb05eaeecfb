"""What must be true of a run, judged by what was asked, the topics, the provider's ledger and the logs alone.

Pure: `fleet` gathers, this judges. Every complaint names the invariant that it breaks.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from service.core.job.accepted_request import AcceptedRequest, FinishedRequest
from service.core.journal.entries import decode
from service.core.journal.stamp import CURSOR_PREFIX, cursor_key
from tests.chaos.evidence import Complaint, Delivery, Entry, Evidence, Judgement, Rules
from tests.chaos.known import name_of
from tests.chaos.load import RESULT, SYNC_MODEL
from tests.chaos.quota import too_fast

ALREADY_FINISHED = "already_finished"
CONFLICT = "request_id_conflict"
SYNC_REPEATS = 2
"""A synchronous call that was lost is made so often again."""
_MUST_END_IN: Final[Mapping[str, str]] = {"conflict": CONFLICT, "other_files": CONFLICT}
_MAY_END_IN: Final = ("request", "cancel")
ById = Mapping[str, Sequence[Delivery]]


def judge(evidence: Evidence, rules: Rules) -> Judgement:
    """The judgement on a run that has come to its end."""
    by_id: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in evidence.deliveries:
        by_id[delivery.id].append(delivery)
    open_complaints: list[Complaint] = []
    known: dict[str, list[Complaint]] = {}
    for complaint in _complaints(evidence, by_id, rules):
        name = name_of(complaint, evidence, rules)
        (open_complaints if name is None else known.setdefault(name, [])).append(complaint)
    return Judgement(
        requests=len({file.id.rpartition("/")[0] for file in evidence.files}),
        outcomes=len(by_id),
        complaints=open_complaints,
        known=known,
        repeats=sum(_repeats(evidence).values()),
        peak_mib=max(evidence.peaks.values(), default=0),
    )


def _complaints(evidence: Evidence, by_id: ById, rules: Rules) -> Iterator[Complaint]:
    for file in evidence.files:
        if file.id not in by_id:
            yield Complaint("lost", file.id, f"N1: nothing came of {file.id}")
    yield from _duplicates(by_id, rules)
    yield from _wrong(evidence, by_id)
    yield from _answers(evidence, by_id)
    yield from _summaries(evidence, by_id)
    yield from _billed(evidence, rules)
    yield from _unpaid(evidence, by_id)
    yield from too_fast(evidence.calls, evidence.gaps, rules.quotas)
    yield from judge_cursor(evidence)
    yield from _lag(evidence)
    for name, mib in evidence.peaks.items():
        if mib > rules.resident_mib:
            yield Complaint("memory", name, f"N8: {name} had {mib} MiB in memory")
    yield from (Complaint("left_behind", "", words) for words in evidence.left_behind)
    yield from (Complaint("stalls", words.partition(":")[0], words) for words in evidence.stalls)


def _duplicates(by_id: ById, rules: Rules) -> Iterator[Complaint]:
    """A repeat is one only of the same kind, and with exactly_once there is none."""
    for identity, found in by_id.items():
        kinds = frozenset(delivery.code for delivery in found)
        if len(kinds) > 1:
            words = f"N1: {identity} has outcomes of more than one kind: {sorted(kinds)}"
            yield Complaint("duplicates", identity, words, kinds)
        elif rules.mode == "exactly_once" and len(found) > 1:
            words = f"N1: a read_committed reader sees {identity} {len(found)} times"
            yield Complaint("duplicates", identity, words, kinds)


def _wrong(evidence: Evidence, by_id: ById) -> Iterator[Complaint]:
    files, origins = {file.id for file in evidence.files}, {each.origin for each in evidence.asked}
    for identity in by_id.keys() - files - origins:
        yield Complaint("wrong", identity, f"N1: nobody asked for {identity}", _codes(by_id[identity]))
    for file in evidence.files:
        for delivery in by_id.get(file.id, ()):
            if delivery.code not in file.may_be:
                words = f"{file.id} failed: {delivery.code}"
                yield Complaint("wrong", file.id, words, frozenset({delivery.code}))
            elif delivery.code == RESULT and delivery.text != file.text:
                words = f"{file.id} has another file's text: {delivery.text!r}"
                yield Complaint("wrong", file.id, words, frozenset({RESULT}))


def _answers(evidence: Evidence, by_id: ById) -> Iterator[Complaint]:
    """A record that cannot be served ends in the one failure that says why; others are silent, or told that
    their request has ended where it was asked for before.
    """
    seen: set[tuple[str, ...]] = set()
    for record in sorted(evidence.asked, key=lambda each: (each.partition, each.offset)):
        codes = _codes(by_id.get(record.origin, ()))
        is_first = record.purpose == "request" and record.keys not in seen
        if record.purpose not in _MAY_END_IN:
            wanted = _MUST_END_IN.get(record.purpose, record.purpose)
            if not codes:
                words = f"N1: nothing came of the record {record.origin}, which must end in {wanted}"
                yield Complaint("lost", record.origin, words)
            elif codes != {wanted}:
                words = f"N1: {record.origin} ended in {sorted(codes)}, not in {wanted}"
                yield Complaint("wrong", record.origin, words, codes)
        elif codes - {ALREADY_FINISHED} or (codes and is_first):
            words = f"N1: nobody asked for {record.origin}: {sorted(codes)}"
            yield Complaint("wrong", record.origin, words, codes)
        if record.purpose == "request":
            seen.add(record.keys)


def _summaries(evidence: Evidence, by_id: ById) -> Iterator[Complaint]:
    """Of a request whose files have all come, one outcome tells how it ended, and truly."""
    requests: dict[str, list[str]] = defaultdict(list)
    for file in evidence.files:
        requests[file.id.rpartition("/")[0]].append(file.id)
    for name, ids in requests.items():
        if any(len(_codes(by_id.get(identity, ()))) != 1 for identity in ids):
            continue  # one that is lost, or of two kinds, is told of besides
        succeeded = sum(RESULT in _codes(by_id[identity]) for identity in ids)
        told = {identity: each.ended for identity in ids for each in by_id[identity] if each.ended}
        if list(told.values()) != [(succeeded, len(ids) - succeeded)]:
            words = f"N1: {name}, {succeeded} of {len(ids)} succeeded, is told to have ended so: {told}"
            yield Complaint("wrong", name, words)


def _codes(deliveries: Iterable[Delivery]) -> frozenset[str]:
    return frozenset(delivery.code for delivery in deliveries)


def _billed(evidence: Evidence, rules: Rules) -> Iterator[Complaint]:
    """N10, in files: one complaint for each bill that no job and no allowed repetition stands for."""
    jobs, repeats = Counter(file.url for file in evidence.files), _repeats(evidence)
    excess = [
        url
        for url, times in Counter(evidence.billed_urls).items()
        for _ in range(times - jobs[url] - _allowed(evidence, rules, url, repeats))
    ]
    for url in excess[rules.resubmissions :]:
        yield Complaint("billed", url, f"N10: billed more than once: {url}")


def _repeats(evidence: Evidence) -> Mapping[str, int]:
    """The further bills of each synchronous file."""
    times = Counter(evidence.billed_urls)
    files = {file.url for file in evidence.files if file.model == SYNC_MODEL}
    return {url: times[url] - 1 for url in files if times[url] > 1}


def _allowed(evidence: Evidence, rules: Rules, url: str, repeats: Mapping[str, int]) -> int:
    """A synchronous call has no task that could be found again; what `at_least_once` announced and lost in a
    crash is called for again besides.
    """
    if url not in repeats:
        return 0
    return SYNC_REPEATS + (evidence.crashes if rules.mode == "at_least_once" else 0)


def _unpaid(evidence: Evidence, by_id: ById) -> Iterator[Complaint]:
    """Each result has a bill of its own: two files never share what one submit made of one of them."""
    if not evidence.billed_urls:
        return
    bills = Counter(evidence.billed_urls)
    results = Counter(file.url for file in evidence.files if RESULT in _codes(by_id.get(file.id, ())))
    for url, count in results.items():
        if count > bills[url]:
            yield Complaint("billed", url, f"N3: {count} results of {bills[url]} bills: {url}")


def _lag(evidence: Evidence) -> Iterator[Complaint]:
    """Once all is done the group's offsets stand at the ends. Without any offset the run has not ended."""
    if not evidence.committed:
        return
    ends: dict[int, int] = {}
    for record in evidence.asked:
        ends[record.partition] = max(ends.get(record.partition, 0), record.offset + 1)
    for partition, end in ends.items():
        committed = evidence.committed.get(partition, 0)
        if committed < end:
            words = f"N5: the group stands at {committed} of {end} in partition {partition}"
            yield Complaint("lag", str(partition), words)


def judge_cursor(evidence: Evidence) -> Iterator[Complaint]:
    """N5: of each record behind the cursor, and behind the group's offset, the jobs are durable.

    Holds at any moment of a run, if the journal was read after the group's offsets.
    """
    cursors, keys = _cursors(evidence.journal), set(_jobs_in(evidence.journal))
    for partition, offset in evidence.committed.items():
        if offset > cursors.get(partition, 0):
            words = f"N5: committed is {offset} of {partition}, past the cursor {cursors.get(partition)}"
            yield Complaint("cursor", str(partition), words)
    for record in evidence.asked:
        if record.offset < cursors.get(record.partition, 0) and record.purpose == "request":
            for key in record.keys:
                if key not in keys:
                    words = (
                        f"N5: the cursor of {record.partition} passed {record.offset}, {key} is not durable"
                    )
                    yield Complaint("cursor", key, words)


def _cursors(journal: Iterable[Entry]) -> Mapping[int, int]:
    """The cursor of each partition, by the rule of a restore: behind a claim lower epochs do not count."""
    cursors: dict[int, int] = {}
    claims: dict[int, int] = defaultdict(int)
    for entry in journal:
        claims[entry.partition] = max(claims[entry.partition], entry.epoch)
        is_cursor = entry.key.startswith(CURSOR_PREFIX) and entry.epoch == claims[entry.partition]
        if is_cursor and entry.value is not None:
            cursors[entry.partition] = _next_offset(entry.value)
    return cursors


def _jobs_in(journal: Iterable[Entry]) -> Iterator[str]:
    """The jobs, by the ids of their outcomes, of all requests that the journal holds, or has held."""
    for entry in journal:
        told = decode(entry.key, entry.value) if entry.key.startswith("r/") and entry.value else None
        if isinstance(told, AcceptedRequest):
            yield from (str(told.job_key(file.index)) for file in told.files)
        elif isinstance(told, FinishedRequest):
            yield from (f"{told.request_id}/{told.replay}/{end.file_index}" for end in told.ends)


def _next_offset(value: bytes) -> int:
    cursor = decode(cursor_key(1), value)
    offset = getattr(cursor, "next_offset", None)
    assert isinstance(offset, int), "a cursor's entry is a cursor"
    return offset
