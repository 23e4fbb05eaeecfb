"""The outage: what shows one, and how rarely a provider that is out of reach is asked."""

import pytest

from service.core.outage import FAILURES_IN_A_ROW, PROBE, Outage, shows_outage
from service.core.task import Accepted, Answered, Cause, Lost, NotSent, Refused, SubmitAnswer, Trouble

NO_CONNECTION = NotSent(Trouble("connect_failed", "x"))
TIMEOUT = Lost(Trouble("timeout", "x"))
TOO_OLD = NotSent(Trouble("intent_too_old", "x"))


def refused(code: str, status: int) -> Refused:
    return Refused(Trouble(code, "x", status))


def begun() -> Outage:
    """An outage that has just begun, at second 100."""
    outage = Outage()
    for _ in range(FAILURES_IN_A_ROW):
        outage.judge(NO_CONNECTION, 100.0, 1.0)
    return outage


@pytest.mark.parametrize(
    ("answer", "shows"),
    [
        (Accepted("t"), False),
        (NO_CONNECTION, True),
        (TIMEOUT, True),
        (refused("InternalError", 500), True),
        (refused("ServiceUnavailable", 503), True),
        (refused("http_error", 502), True),
        (refused("http_error", 404), True),
        (refused("Throttling.RateQuota", 429), False),
        (refused("InvalidParameter", 400), False),
        (refused("Arrearage", 400), False),
        (refused("BadRequest.InputDownloadFailed", 400), False),
        (refused("GatewayTimeout.InputDownload", 504), False),
    ],
)
def test_only_what_no_provider_at_work_would_answer_shows_an_outage(
    answer: SubmitAnswer, shows: bool
) -> None:
    assert shows_outage(answer) is shows


def test_a_few_in_a_row_make_an_outage_and_one_answer_between_them_makes_none() -> None:
    outage = Outage()
    for answer in (NO_CONNECTION, TIMEOUT, Accepted("t"), NO_CONNECTION, TIMEOUT):
        outage.judge(answer, 0.0, 0.5)
    assert (outage.is_on, outage.wait_seconds(0.0)) == (False, 0.0)
    outage.judge(NO_CONNECTION, 0.0, 0.5)
    assert outage.is_on
    assert outage.wait_seconds(0.0) > 0


def test_our_own_slowness_neither_makes_nor_ends_an_outage() -> None:
    outage = Outage()
    for _ in range(10):
        outage.judge(TOO_OLD, 0.0, 0.5)
    assert not outage.is_on
    outage = begun()
    outage.judge(TOO_OLD, 0.0, 0.5)
    assert outage.is_on


def test_the_first_answer_of_a_provider_at_work_ends_it() -> None:
    outage = begun()
    outage.probe(102.0, 0.5)
    outage.judge(refused("InvalidParameter", 400), 103.0, 0.5)
    assert (outage.is_on, outage.wait_seconds(103.0), outage.probes) == (False, 0.0, 0)


def test_probes_become_rare_and_stay_so() -> None:
    outage, now, probes = begun(), 100.0, 0
    while now < 100.0 + 3600:
        now += outage.wait_seconds(now)
        outage.probe(now, 0.0)
        outage.judge(TIMEOUT, now, 0.0)
        probes += 1
    assert probes <= 10 + 3600 / (PROBE.longest_seconds / 2)


def test_those_that_were_out_together_when_it_began_do_not_make_the_probe_rarer() -> None:
    outage = begun()
    before = outage.wait_seconds(100.0)
    for _ in range(30):
        outage.judge(NO_CONNECTION, 100.0, 1.0)
    assert outage.wait_seconds(100.0) == before == PROBE.first_seconds


def test_one_probe_goes_at_a_time_even_while_its_answer_is_awaited() -> None:
    outage = begun()
    outage.probe(102.0, 0.0)
    assert outage.wait_seconds(102.0) >= PROBE.first_seconds


def test_without_an_outage_a_submit_is_no_probe() -> None:
    outage = Outage()
    outage.probe(0.0, 0.5)
    assert (outage.probes, outage.wait_seconds(0.0)) == (0, 0.0)


def test_a_lost_answer_that_is_a_word_about_the_audio_is_no_outage() -> None:
    assert not shows_outage(Lost(Trouble("DataInspectionFailed", "not allowed")))
    assert shows_outage(Lost(Trouble("timeout", "no answer")))
    assert shows_outage(Lost(Trouble("internal_error", "oops")))
    assert not shows_outage(Answered({}))
    assert shows_outage(NotSent(Trouble("connect_failed", "no route")))


def test_the_last_failure_is_kept_until_a_provider_at_work_answers() -> None:
    outage = begun()
    assert outage.last == NO_CONNECTION.trouble
    outage.judge(TIMEOUT, 101.0, 0.5)
    outage.judge(TOO_OLD, 101.0, 0.5)
    assert outage.last == TIMEOUT.trouble
    outage.judge(Accepted("t"), 102.0, 0.5)
    assert outage.last is None


def test_a_code_of_ours_tells_its_cause_where_nobody_knows_more() -> None:
    kinds = {
        code: Trouble(code, "x").kind for code in ("timeout", "connect_failed", "not_json", "http_error")
    }
    assert kinds == {
        "timeout": Cause.TIMEOUT,
        "connect_failed": Cause.UNREACHABLE,
        "not_json": Cause.WRONG_ANSWER,
        "http_error": Cause.HTTP_ERROR,
    }
    assert Trouble("InternalError", "x", 500).kind is Cause.PROVIDER_ERROR
    assert Trouble("connect_failed", "x", cause=Cause.TLS).kind is Cause.TLS
