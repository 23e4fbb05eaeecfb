"""What must be true of a simulated run, judged by the plan, the ledger and the topics alone.

It judges each delivery, also one that only a stale owner decided: docs/guarantees.md promises one outcome id
for each file, that no repetition is of another kind, and that nothing is lost or billed twice.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from tests.unit.core.simulation.failures import judge_failure
from tests.unit.core.simulation.files import nature_of, text_of
from tests.unit.core.simulation.journal import JournalModel
from tests.unit.core.simulation.ledger import Ledger
from tests.unit.core.simulation.plan import CONFLICT, FINISHED, UNKNOWN, Asked, Meaning, Plan, Planned
from tests.unit.core.simulation.port import Delivery, Violation, check

EXPIRED = "result_expired"
Told = Mapping[str, list[Delivery]]
"""The deliveries of each job, by its name in the ledger, and of each record."""


def judge_cursor(passed: Iterable[Planned], journal: JournalModel, told: Told) -> None:
    """N5: of each record behind the cursor the jobs, or the failure, are durable."""
    for planned in passed:
        where = f"N5: the cursor passed record {planned.record.offset}"
        for job in planned.opens:
            check(job in journal.words, f"{where}, and {job} is not durable")
        if planned.meaning is Meaning.FAILS:
            check(bool(told.get(planned.origin)), f"{where}, and its failure is not durable")


def judge_outcomes(plan: Plan, ledger: Ledger, told: Told, intents: Callable[[str], int]) -> None:
    """N1 and all that users rely on; everything that is wrong is told at once.

    `intents` tells how often a job was about to be submitted.
    """
    jobs = {asked.name(job): (asked, job) for asked in plan.all() for job in asked.urls}
    records = {planned.origin: planned for planned in plan.planned()}
    found = {name: deliveries for name, deliveries in told.items() if deliveries}
    wrong = [_wrong(partial(_judge_ids, jobs, records, set(found)))]
    for name, deliveries in found.items():
        if name not in jobs:
            wrong.append(_wrong(partial(_judge_record, name, records.get(name), deliveries)))
            continue
        asked, job = jobs[name]
        wrong.append(_wrong(partial(_judge_job, name, asked, ledger, deliveries)))
        wrong.append(_wrong(partial(_judge_kinds, name, asked.urls[job], ledger, deliveries)))
        failures = (delivery for delivery in deliveries if not delivery.is_result)
        wrong += [_wrong(partial(judge_failure, asked, ledger, intents(job), each)) for each in failures]
    wrong += [_wrong(partial(_judge_summary, asked, told)) for asked in plan.all()]
    rules = dict.fromkeys(rule for rule in wrong if rule)
    check(not rules, "\n".join(rules))


def _wrong(judge: Callable[[], None]) -> str | None:
    try:
        judge()
    except Violation as violation:
        return str(violation)
    return None


def _judge_record(name: str, planned: Planned | None, found: list[Delivery]) -> None:
    codes = {str(delivery.code) for delivery in found}
    # A cancel that is read again after a crash may find its request forgotten meanwhile.
    check(len(codes) == 1 or codes == {FINISHED, UNKNOWN}, f"N1: {name} fails in more than one way")
    if planned is None:
        return
    allowed = planned.codes
    is_allowed = codes <= allowed if allowed else not codes & {CONFLICT, FINISHED, UNKNOWN}
    check(is_allowed, f"N1: {name} is answered with {sorted(codes)}")


def _judge_ids(
    jobs: Mapping[str, tuple[Asked, str]], records: Mapping[str, Planned], found: set[str]
) -> None:
    wanted = set(jobs) | {origin for origin, of in records.items() if of.meaning is Meaning.FAILS}
    allowed = {origin for origin, of in records.items() if of.meaning is Meaning.MAY_FAIL}
    check(not wanted - found, f"N1: nothing ever came of {sorted(wanted - found)}")
    check(not found - wanted - allowed, f"N1: nobody asked for {sorted(found - wanted - allowed)}")


def _judge_job(name: str, asked: Asked, ledger: Ledger, found: list[Delivery]) -> None:
    for delivery in found:
        body, url = delivery.body, asked.urls[delivery.id]
        check(body["file_url"] == url.partition("?")[0], f"N9: {name} names another file, or its query")
        check(body["model"] == asked.model, f"N1: {name} names another model")
        check(body["metadata"] == asked.body.get("metadata"), f"N1: {name} has another's metadata")
        if delivery.is_result:
            _judge_result(name, asked, url, ledger, body)


def _judge_kinds(name: str, url: str, ledger: Ledger, found: list[Delivery]) -> None:
    """Whoever wrote them: all outcomes of a job are of one kind."""
    # A result that was decided and then expired before it could be sent (again) is the one way to change.
    is_expired = any(task.is_expired(found[-1].at_ms) for task in ledger.by_url.get(url, []))
    told = [each for each in found if not (is_expired and each.code == EXPIRED)]
    fenced = {each.kind for each in told if each.fenced}
    check(len(fenced) <= 1, f"N1: {name} ends in more than one way: {sorted(fenced)}")
    kinds = {each.kind for each in told}
    check(len(kinds) <= 1, f"N1: {name} ends in one way and for a stale owner in another: {sorted(kinds)}")


def _judge_result(name: str, asked: Asked, url: str, ledger: Ledger, body: dict[str, object]) -> None:
    nature = nature_of(url)
    check(nature not in ("forbidden", "garbage", "missing"), f"{name} has no result at the provider")
    transcript = body["transcript"]
    assert isinstance(transcript, dict)
    texts = [channel["text"] for channel in transcript["channels"]]
    check(texts == ([] if nature == "silent" else [text_of(url)]), f"{name} has another file's text")
    if ledger.is_call(asked.model):
        check(any(call.is_heard for call in ledger.calls.get(name, ())), f"{name} was never heard")
        return
    task = ledger.tasks.get(str(body["task_id"]))
    check(task is not None and url in task.files.values(), f"{name} names a foreign task")


def _judge_summary(asked: Asked, told: Told) -> None:
    """Whoever keeps the first record of an id, or the last, finds one true summary."""
    fenced = [[each for each in told.get(asked.name(job), ()) if each.fenced] for job in asked.urls]
    if not all(fenced) or any(each.code == EXPIRED for found in fenced for each in found):
        return
    which_kept = {"first": [found[0] for found in fenced], "last": [found[-1] for found in fenced]}
    for which, kept in which_kept.items():
        request = asked.name(asked.request[0])
        summaries = [delivery.summary for delivery in kept if delivery.summary is not None]
        about = f"summary: the {which} records of {request} have the summaries {summaries}"
        check(len(summaries) == 1, about)
        succeeded = sum(delivery.is_result for delivery in kept)
        counted = (summaries[0]["succeeded"], summaries[0]["failed"])
        check(counted == (succeeded, len(kept) - succeeded), f"{about}, and {succeeded} results")
        billed = sum(delivery.billed_seconds for delivery in kept)
        check(summaries[0]["billed_seconds"] >= billed, f"{about}, and {billed} billed seconds")
