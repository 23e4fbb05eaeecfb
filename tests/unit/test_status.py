"""The picture that /status shows."""

import json

from service.status import BudgetStatus, HoldStatus, ShardStatus, Status, SubmitStatus


def test_a_status_says_everything_as_json() -> None:
    status = Status(
        version="1.2.3",
        member="scribe-0",
        shards=(ShardStatus(partition=3, state="open", open_jobs=2, epoch=7, cursor=41),),
        jobs={"running": 2},
        oldest_job_age_seconds=12.5,
        budgets=(BudgetStatus("submit", 0.5, 1.0, model="fun-asr"),),
        submits=(SubmitStatus("fun-asr", 7.25, 1_700_000_000_123), SubmitStatus("fun-asr-mtl", 20.0)),
        spent_seconds=12,
        hold=HoldStatus("Arrearage", since_ms=1_700_000_000_123),
        pending_moves=4,
    )
    assert json.loads(status.to_json()) == {
        "version": "1.2.3",
        "member": "scribe-0",
        "shards": [
            {"partition": 3, "state": "open", "open_jobs": 2, "epoch": 7, "cursor": 41, "detail": None}
        ],
        "jobs": {"running": 2},
        "oldest_job_age_seconds": 12.5,
        "budgets": [{"kind": "submit", "rate_per_second": 0.5, "share_per_second": 1.0, "model": "fun-asr"}],
        "submits": [
            {"model": "fun-asr", "retries_left": 7.2, "outage_since": "2023-11-14T22:13:20.123Z"},
            {"model": "fun-asr-mtl", "retries_left": 20.0, "outage_since": None},
        ],
        "spent_seconds": 12,
        "hold": {"code": "Arrearage", "since": "2023-11-14T22:13:20.123Z"},
        "pending_moves": 4,
    }


def test_a_signed_url_or_a_key_in_a_detail_does_not_come_out() -> None:
    detail = "fetching https://h/x?Signature=canary with sk-canary12345"
    status = Status("1", "m", shards=(ShardStatus(0, "refused", detail=detail),))
    assert b"canary" not in status.to_json()


def test_a_time_that_is_none_keeps_no_status_from_being_shown() -> None:
    for since_ms in (-62_135_596_800_001, 253_402_300_800_000, 2**63):
        status = Status(version="1", member="m", hold=HoldStatus("Arrearage", since_ms=since_ms))
        assert json.loads(status.to_json())["hold"]["since"] == "unknown"
