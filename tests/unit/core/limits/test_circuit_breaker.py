"""The outage: what shows one, and how rarely a provider that is out of reach is asked."""

import pytest

from service.core.limits.circuit_breaker import FAILURES_IN_A_ROW, PROBE, CircuitBreaker, opens_circuit
from service.core.provider.answers import (
    Accepted,
    Answered,
    Cause,
    Lost,
    NotSent,
    ProviderError,
    Refused,
    SubmitAnswer,
)

NO_CONNECTION = NotSent(ProviderError("connect_failed", "x"))
TIMEOUT = Lost(ProviderError("timeout", "x"))
TOO_OLD = NotSent(ProviderError("intent_too_old", "x"))


def refused(code: str, status: int) -> Refused:
    return Refused(ProviderError(code, "x", status))


def begun() -> CircuitBreaker:
    """An outage that has just begun, at second 100."""
    circuit_breaker = CircuitBreaker()
    for _ in range(FAILURES_IN_A_ROW):
        circuit_breaker.judge(NO_CONNECTION, 100.0, 1.0)
    return circuit_breaker


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
    assert opens_circuit(answer) is shows


def test_a_few_in_a_row_make_an_outage_and_one_answer_between_them_makes_none() -> None:
    circuit_breaker = CircuitBreaker()
    for answer in (NO_CONNECTION, TIMEOUT, Accepted("t"), NO_CONNECTION, TIMEOUT):
        circuit_breaker.judge(answer, 0.0, 0.5)
    assert (circuit_breaker.is_open, circuit_breaker.wait_seconds(0.0)) == (False, 0.0)
    circuit_breaker.judge(NO_CONNECTION, 0.0, 0.5)
    assert circuit_breaker.is_open
    assert circuit_breaker.wait_seconds(0.0) > 0


def test_our_own_slowness_neither_makes_nor_ends_an_outage() -> None:
    circuit_breaker = CircuitBreaker()
    for _ in range(10):
        circuit_breaker.judge(TOO_OLD, 0.0, 0.5)
    assert not circuit_breaker.is_open
    circuit_breaker = begun()
    circuit_breaker.judge(TOO_OLD, 0.0, 0.5)
    assert circuit_breaker.is_open


def test_the_first_answer_of_a_provider_at_work_ends_it() -> None:
    circuit_breaker = begun()
    circuit_breaker.probe(102.0, 0.5)
    circuit_breaker.judge(refused("InvalidParameter", 400), 103.0, 0.5)
    assert (circuit_breaker.is_open, circuit_breaker.wait_seconds(103.0), circuit_breaker.probes) == (
        False,
        0.0,
        0,
    )


def test_probes_become_rare_and_stay_so() -> None:
    circuit_breaker, now, probes = begun(), 100.0, 0
    while now < 100.0 + 3600:
        now += circuit_breaker.wait_seconds(now)
        circuit_breaker.probe(now, 0.0)
        circuit_breaker.judge(TIMEOUT, now, 0.0)
        probes += 1
    assert probes <= 10 + 3600 / (PROBE.longest_seconds / 2)


def test_those_that_were_out_together_when_it_began_do_not_make_the_probe_rarer() -> None:
    circuit_breaker = begun()
    before = circuit_breaker.wait_seconds(100.0)
    for _ in range(30):
        circuit_breaker.judge(NO_CONNECTION, 100.0, 1.0)
    assert circuit_breaker.wait_seconds(100.0) == before == PROBE.first_seconds


def test_one_probe_goes_at_a_time_even_while_its_answer_is_awaited() -> None:
    circuit_breaker = begun()
    circuit_breaker.probe(102.0, 0.0)
    assert circuit_breaker.wait_seconds(102.0) >= PROBE.first_seconds


def test_without_an_outage_a_submit_is_no_probe() -> None:
    circuit_breaker = CircuitBreaker()
    circuit_breaker.probe(0.0, 0.5)
    assert (circuit_breaker.probes, circuit_breaker.wait_seconds(0.0)) == (0, 0.0)


def test_a_lost_answer_caused_by_the_audio_does_not_count_as_an_outage() -> None:
    assert not opens_circuit(Lost(ProviderError("DataInspectionFailed", "not allowed")))
    assert opens_circuit(Lost(ProviderError("timeout", "no answer")))
    assert opens_circuit(Lost(ProviderError("internal_error", "oops")))
    assert not opens_circuit(Answered({}))
    assert opens_circuit(NotSent(ProviderError("connect_failed", "no route")))


def test_the_last_failure_is_kept_until_a_provider_at_work_answers() -> None:
    circuit_breaker = begun()
    assert circuit_breaker.last == NO_CONNECTION.provider_error
    circuit_breaker.judge(TIMEOUT, 101.0, 0.5)
    circuit_breaker.judge(TOO_OLD, 101.0, 0.5)
    assert circuit_breaker.last == TIMEOUT.provider_error
    circuit_breaker.judge(Accepted("t"), 102.0, 0.5)
    assert circuit_breaker.last is None


def test_a_code_of_ours_gives_the_cause_where_none_is_known() -> None:
    kinds = {
        code: ProviderError(code, "x").kind
        for code in ("timeout", "connect_failed", "not_json", "http_error")
    }
    assert kinds == {
        "timeout": Cause.TIMEOUT,
        "connect_failed": Cause.UNREACHABLE,
        "not_json": Cause.WRONG_ANSWER,
        "http_error": Cause.HTTP_ERROR,
    }
    assert ProviderError("InternalError", "x", 500).kind is Cause.PROVIDER_ERROR
    assert ProviderError("connect_failed", "x", cause=Cause.TLS).kind is Cause.TLS
