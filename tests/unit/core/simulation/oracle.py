"""What must be true of a simulated run, judged by the plan, the ledger and the topics alone."""

from collections import defaultdict
from collections.abc import Callable
from functools import partial

from tests.unit.core.simulation.failures import judge_failure
from tests.unit.core.simulation.journal import Delivery, JournalModel, Violation, check
from tests.unit.core.simulation.plan import TOPIC, Asked, Meaning, Plan
from tests.unit.core.simulation.provider import ProviderModel, text_of

EXPIRED = "result_expired"


def judge_cursor(plan: Plan, journal: JournalModel, delivered: set[str], offsets: range) -> None:
    """N5: of each record behind the cursor the jobs, or the failure, are durable."""
    for offset in offsets:
        planned = plan.records[offset]
        for key in planned.opens:
            check(key in journal.ever, f"N5: the cursor passed record {offset}, and {key} is not durable")
        if planned.meaning is Meaning.FAILS:
            is_out = f"{TOPIC}/0/{offset}" in delivered
            check(is_out, f"N5: the cursor passed record {offset}, and its failure is not durable")


def judge_outcomes(plan: Plan, provider: ProviderModel, found: list[Delivery]) -> None:
    """N1 and all that users rely on; everything that is wrong is told at once."""
    by_id: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in found:
        by_id[delivery.id].append(delivery)
    wrong = [_wrong(lambda: _judge_ids(plan, set(by_id)))]
    for identity, told in by_id.items():
        asked = plan.owner_of_key.get(identity)
        if asked is None:
            wrong.append(_wrong(partial(_judge_record, identity, told)))
            continue
        wrong.append(_wrong(partial(_judge_job, identity, asked, provider, told)))
        wrong.append(_wrong(partial(_judge_kinds, identity, asked, provider, told)))
        failures = (delivery for delivery in told if not delivery.is_result)
        wrong += [_wrong(partial(judge_failure, asked, provider, each)) for each in failures]
    wrong += [_wrong(partial(_judge_summary, asked, by_id)) for asked in plan.asked.values()]
    rules = dict.fromkeys(rule for rule in wrong if rule)
    check(not rules, "\n".join(rules))


def _wrong(judge: Callable[[], None]) -> str | None:
    try:
        judge()
    except Violation as violation:
        return str(violation)
    return None


def _judge_record(identity: str, found: list[Delivery]) -> None:
    codes = {delivery.code for delivery in found}
    # A cancel that is read again after a crash may find its request forgotten meanwhile.
    is_one = len(codes) == 1 or codes == {"already_finished", "cancel_unknown_request"}
    check(is_one, f"N1: {identity} fails in more than one way")


def _judge_ids(plan: Plan, found: set[str]) -> None:
    wanted, allowed = set(plan.owner_of_key), set()
    for offset, planned in enumerate(plan.records):
        if planned.meaning is Meaning.FAILS:
            wanted.add(f"{TOPIC}/0/{offset}")
        elif planned.meaning is Meaning.MAY_FAIL:
            allowed.add(f"{TOPIC}/0/{offset}")
    check(not wanted - found, f"N1: nothing ever came of {sorted(wanted - found)}")
    check(not found - wanted - allowed, f"N1: nobody asked for {sorted(found - wanted - allowed)}")


def _judge_job(key: str, asked: Asked, provider: ProviderModel, found: list[Delivery]) -> None:
    url = asked.urls[key]
    for delivery in found:
        body = delivery.body
        check(body["file_url"] == url.partition("?")[0], f"N9: {key} names another file, or its query")
        if delivery.is_result:
            _judge_result(key, url, provider, body)


def _judge_kinds(key: str, asked: Asked, provider: ProviderModel, found: list[Delivery]) -> None:
    """Whoever wrote them: all outcomes of a job are of one kind."""
    # A result that was decided and then expired before it could be sent (again) is the one way to change.
    is_expired = any(task.is_expired(found[-1].at_ms) for task in provider.tasks_of(asked.urls[key]))
    told = [each for each in found if not (is_expired and each.code == EXPIRED)]
    fenced = {each.kind for each in told if each.fenced}
    check(len(fenced) <= 1, f"N1: {key} ends in more than one way: {sorted(fenced)}")
    kinds = {each.kind for each in told}
    check(len(kinds) <= 1, f"N1: {key} ends in one way and for a stale owner in another: {sorted(kinds)}")


def _judge_result(key: str, url: str, provider: ProviderModel, body: dict[str, object]) -> None:
    nature = url.split("/")[3]
    check(nature not in ("forbidden", "garbage", "missing"), f"{key} has no result at the provider")
    transcript = body["transcript"]
    assert isinstance(transcript, dict)
    texts = [channel["text"] for channel in transcript["channels"]]
    check(texts == ([] if nature == "silent" else [text_of(url)]), f"{key} has another file's text")
    task = provider.tasks.get(str(body["task_id"]))
    check(task is not None and url in task.files.values(), f"{key} names a foreign task")


def _judge_summary(asked: Asked, by_id: dict[str, list[Delivery]]) -> None:
    """Whoever keeps the first record of an id, or the last, finds one true summary."""
    fenced = [[each for each in by_id[key] if each.fenced] for key in asked.urls]
    if not all(fenced) or any(each.code == EXPIRED for found in fenced for each in found):
        return
    for which, kept in (("first", [found[0] for found in fenced]), ("last", [found[-1] for found in fenced])):
        summaries = [delivery.summary for delivery in kept if delivery.summary is not None]
        told = f"summary: the {which} records of {asked.request_id} have the summaries {summaries}"
        check(len(summaries) == 1, told)
        succeeded = sum(delivery.is_result for delivery in kept)
        found = (summaries[0]["succeeded"], summaries[0]["failed"])
        check(found == (succeeded, len(kept) - succeeded), f"{told}, and {succeeded} results")
        billed = sum(delivery.billed_seconds for delivery in kept)
        check(summaries[0]["billed_seconds"] >= billed, f"{told}, and {billed} billed seconds")
