"""The picture that /status shows."""

import json

from service.contract.redaction import redact
from service.core.provider.answers import Cause, ProviderError
from service.observability.status import (
    MAX_RESULT_HOLDS,
    BudgetStatus,
    HoldStatus,
    ResultHoldStatus,
    ShardStatus,
    ShardWork,
    Status,
    SubmitStatus,
    Waiting,
)
from service.pipeline.guards.wait_reasons import CallsInFlight

REFUSED = ProviderError(
    "connect_failed", "host h refuses connections on port 443", cause=Cause.REFUSED, host="h"
)


def test_a_status_says_everything_as_json() -> None:
    status = Status(
        version="1.2.3",
        member="scribe-0",
        shards=(
            ShardStatus(partition=3, state="open", open_jobs=2, epoch=7, cursor=41),
            ShardStatus(partition=4, state="ready", work=ShardWork({"waiting": 3}, 1, 12, 0.5, 7, 2.5, 99)),
        ),
        is_ready=True,
        partitions=12,
        waiting=(Waiting("fun-asr", "quota", 3),),
        oldest_ages_seconds={"waiting": 20.0},
        retention_seconds=3_600.0,
        calls=(CallsInFlight("fetch", 1, 8),),
        jobs={"submitted": 2, "waiting": 3},
        oldest_job_age_seconds=12.5,
        budgets=(BudgetStatus("submit", 0.5, 1.0, model="fun-asr"),),
        submits=(
            SubmitStatus("fun-asr", 7.25, 1_700_000_000_123, REFUSED),
            SubmitStatus("fun-asr-mtl", 20.0),
        ),
        spent_seconds=12,
        spent_cost=0.1 + 0.2,
        holds=(
            HoldStatus("Arrearage", 1_700_000_000_123, "Your account is in arrears.", None, "Pay.", 3),
            HoldStatus("spend_limit", 1_700_000_000_123),
        ),
        group_lost="https://u:canary@h/x is away",
        account_hold="held",
        result_holds=(
            ResultHoldStatus("fun-asr", "r.example", "SCRIBE_FETCH__HOSTS", 3, 1_700_000_000_123),
            ResultHoldStatus("fun-asr-mtl", "r.example", "SCRIBE_FETCH__HOSTS", 1),
        ),
        clock_offset_seconds=-259_200.0004,
        pending_bytes=4,
        submissions={"running": 2, "waiting": 1},
        stopped_stages=("poll",),
        unused_slots=("no_proof",),
    )
    assert json.loads(status.to_json()) == {
        "version": "1.2.3",
        "member": "scribe-0",
        "group_lost": redact("https://u:canary@h/x is away"),
        "shards": [
            {
                "partition": 3,
                "state": "open",
                "open_jobs": 2,
                "epoch": 7,
                "cursor": 41,
                "detail": None,
                "work": None,
            },
            {
                "partition": 4,
                "state": "ready",
                "open_jobs": 0,
                "epoch": None,
                "cursor": None,
                "detail": None,
                "work": {
                    "jobs": {"waiting": 3},
                    "uncertain_submissions": 1,
                    "billed_seconds_today": 12,
                    "billed_cost_today": 0.5,
                    "unread_requests": 7,
                    "unread_seconds": 2.5,
                    "journal_offsets": 99,
                },
            },
        ],
        "ready": True,
        "partitions": 12,
        "waiting": [{"model": "fun-asr", "reason": "quota", "jobs": 3}],
        "oldest_ages_seconds": {"waiting": 20.0},
        "retention_seconds": 3_600.0,
        "calls": [{"kind": "fetch", "calls": 1, "limit": 8}],
        "jobs": {"submitted": 2, "waiting": 3},
        "submissions": {"running": 2, "waiting": 1},
        "oldest_job_age_seconds": 12.5,
        "budgets": [{"kind": "submit", "rate_per_second": 0.5, "share_per_second": 1.0, "model": "fun-asr"}],
        "submits": [
            {
                "model": "fun-asr",
                "retries_left": 7.2,
                "outage_since": "2023-11-14T22:13:20.123Z",
                "outage": {
                    "cause": "refused",
                    "host": "h",
                    "http_status": None,
                    "provider_code": None,
                    "reason": "host h refuses connections on port 443",
                },
            },
            {"model": "fun-asr-mtl", "retries_left": 20.0, "outage_since": None, "outage": None},
        ],
        "spent_seconds": 12,
        "spent_cost": 0.3,
        "hold": {
            "code": "Arrearage",
            "since": "2023-11-14T22:13:20.123Z",
            "reason": "Your account is in arrears.",
            "model": None,
            "advice": "Pay.",
            "jobs_waiting": 3,
        },
        "other_holds": [
            {
                "code": "spend_limit",
                "since": "2023-11-14T22:13:20.123Z",
                "reason": "",
                "model": None,
                "advice": "",
                "jobs_waiting": 0,
            }
        ],
        "account_hold": "held",
        "result_holds": [
            {
                "model": "fun-asr",
                "host": "r.example",
                "setting": "SCRIBE_FETCH__HOSTS",
                "jobs": 3,
                "submits_stopped_since": "2023-11-14T22:13:20.123Z",
            },
            {
                "model": "fun-asr-mtl",
                "host": "r.example",
                "setting": "SCRIBE_FETCH__HOSTS",
                "jobs": 1,
                "submits_stopped_since": None,
            },
        ],
        "more_result_holds": 0,
        "clock_offset_seconds": -259_200.0,
        "pending_bytes": 4,
        "stopped_stages": ["poll"],
        "unused_slots": ["no_proof"],
    }


def test_a_signed_url_or_a_key_in_a_detail_does_not_come_out() -> None:
    detail = "fetching https://h/x?Signature=canary with sk-canary12345"
    status = Status("1", "m", shards=(ShardStatus(0, "refused", detail=detail),))
    assert b"canary" not in status.to_json()


def test_a_signed_url_or_a_key_in_the_providers_words_does_not_come_out() -> None:
    words = "see https://u:canary@h/x?Signature=canary with Bearer canary and sk-canary12345"
    outage = ProviderError("Odd code canary? no", words, 500)
    status = Status(
        *("1", "m"),
        submits=(SubmitStatus("fun-asr", 1.0, 1, outage),),
        holds=(HoldStatus("Arrearage", 1, words),),
        group_lost=words,
    )
    shown = status.to_json().decode().replace("Odd code canary? no", "")
    assert "canary" not in shown


def test_a_process_that_has_submitted_nothing_does_not_know_of_a_hold() -> None:
    shown = json.loads(Status("1", "m").to_json())
    assert (shown["hold"], shown["account_hold"]) == (None, "unknown")


def test_a_time_that_is_none_keeps_no_status_from_being_shown() -> None:
    for since_ms in (-62_135_596_800_001, 253_402_300_800_000, 2**63):
        status = Status(version="1", member="m", holds=(HoldStatus("Arrearage", since_ms=since_ms),))
        assert json.loads(status.to_json())["hold"]["since"] == "unknown"


def test_of_many_hosts_that_hold_results_only_some_are_shown_and_the_others_counted() -> None:
    holds = tuple(ResultHoldStatus("fun-asr", f"r{number}.example", "S", 1) for number in range(1000))
    document = json.loads(Status(version="1", member="scribe-0", result_holds=holds).to_json())
    assert len(document["result_holds"]) == MAX_RESULT_HOLDS
    assert document["more_result_holds"] == 1000 - MAX_RESULT_HOLDS
