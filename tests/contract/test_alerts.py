"""Each alert in Prometheus' own rule tests: it fires on what it is for, and is silent on what is near.

Two replicas, `a` and `b`, are scraped once a minute; a series without an `instance` is shown by both.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tools.monitoring.alerts import ALERTS
from tools.monitoring.rules import RECORDINGS, groups

pytestmark = pytest.mark.needs_debian("prometheus")

PLACE = 'namespace="speech",job="scribe"'
MINUTES = 120

Series = Mapping[str, str]
"""Names with their own labels, and values as promtool writes them: `0x9 1x100` is ten times 0, then 1."""


class Case(NamedTuple):
    """What must fire, and what must not."""

    fires: Series
    silent: Series


ALIVE = {"scribe_build_info": "1x200"}
SHARDS = 'scribe_shard_state{state="ready",partition="%d",instance="%s"}'


def served(*places: tuple[int, str]) -> dict[str, str]:
    """Three partitions, of which these replicas serve these."""
    return {"scribe_request_partitions": "3x200", **{SHARDS % place: "1x200" for place in places}}


CASES: Mapping[str, Case] = {
    "ScribeAbsent": Case({"other": "1x200"}, ALIVE),
    "ScribeReplicaMissing": Case(
        {'scribe_build_info{instance="a"}': "1x200", 'scribe_build_info{instance="b"}': "1x100 stale"},
        {
            'scribe_build_info{instance="a"}': "1x200",
            'scribe_build_info{instance="b"}': "1x105 stale _x9 1x90",
        },
    ),
    "ScribeRestarts": Case(
        {**ALIVE, 'process_start_time_seconds{instance="a"}': "0x100 1 1 2 2 3 3 3x60"},
        {**ALIVE, 'process_start_time_seconds{instance="a"}': "0x100 1 1 2 2x90"},
    ),
    "ScribeNotReady": Case(
        {'scribe_ready{instance="a"}': "1x60 0x90", 'scribe_ready{instance="b"}': "1x200"},
        {'scribe_ready{instance="a"}': "1x100 0x5 1x90"},
    ),
    "ScribeNoMembership": Case(
        {'scribe_slots_unused{reason="membership"}': "1x200"},
        {
            'scribe_slots_unused{reason="membership",instance="a"}': "1x200",
            'scribe_slots_unused{reason="membership",instance="b"}': "0x200",
        },
    ),
    "ScribeGroupLost": Case({"scribe_group_lost": "1x200"}, {"scribe_group_lost": "0x110 1x2 0x90"}),
    "ScribeShardRefused": Case(
        {'scribe_shard_state{state="refused",partition="2",instance="a"}': "1x200"},
        {'scribe_shard_state{state="restoring",partition="2",instance="a"}': "1x200"},
    ),
    "ScribeShardUnserved": Case(served((0, "a"), (1, "b")), served((0, "a"), (1, "b"), (2, "a"), (2, "b"))),
    "ScribeRequestLag": Case(
        {'scribe_request_lag_seconds{partition="1"}': "3700x200"},
        {'scribe_request_lag_seconds{partition="1"}': "3500x200"},
    ),
    "ScribeRequestsLost": Case(
        {"scribe_requests_lost_total": "2x200"}, {"scribe_requests_lost_total": "0x200"}
    ),
    "ScribeHold": Case(
        {'scribe_hold{code="Arrearage"}': "1x200"}, {'scribe_hold{code="spend_limit"}': "1x200"}
    ),
    "ScribeSpendLimitReached": Case(
        {'scribe_hold{code="spend_limit"}': "1x200"}, {'scribe_hold{code="Arrearage"}': "1x200"}
    ),
    "ScribeResultsHeld": Case({"scribe_results_held": "1x200"}, {"scribe_results_held": "0x112 1 0x90"}),
    "ScribeNearLoss": Case(
        {"scribe_result_retention_seconds": "7200x200"}, {"scribe_result_retention_seconds": "86000x200"}
    ),
    "ScribeOutage": Case(
        {'scribe_provider_outage{model="fun-asr"}': "1x200"},
        {'scribe_provider_outage{model="fun-asr"}': "0x112 1x3 0x90"},
    ),
    "ScribeNothingMoves": Case(
        {
            'scribe_waiting_jobs{model="fun-asr",reason="quota"}': "5x200",
            'scribe_provider_calls_total{kind="submit",model="fun-asr",result="ok"}': "7x200",
            'scribe_provider_calls_total{kind="submit",model="fun-asr",result="error"}': "0+9x200",
        },
        {
            'scribe_waiting_jobs{model="fun-asr",reason="quota"}': "5x200",
            'scribe_waiting_jobs{model="fun-asr",reason="spend_limit"}': "5x200",
            'scribe_provider_calls_total{kind="submit",model="fun-asr",result="ok"}': "0+1x200",
        },
    ),
    "ScribeOldJob": Case(
        {'scribe_oldest_open_job_age_seconds{state="submitted"}': "50000x200"},
        {'scribe_oldest_open_job_age_seconds{state="submitted"}': "40000x200"},
    ),
    "ScribeThrottled": Case(
        {
            'scribe_budget_rate_per_second{kind="submit",model="fun-asr"}': "1x200",
            'scribe_budget_share_per_second{kind="submit",model="fun-asr"}': "4x200",
            'scribe_waiting_jobs{model="fun-asr",reason="quota"}': "5x200",
        },
        {
            'scribe_budget_rate_per_second{kind="submit",model="fun-asr"}': "1x200",
            'scribe_budget_share_per_second{kind="submit",model="fun-asr"}': "4x200",
            'scribe_waiting_jobs{model="fun-asr",reason="quota"}': "0x200",
        },
    ),
    "ScribeProviderFailsFiles": Case(
        {
            'scribe_failures_total{code="provider_error",fault="provider"}': "0+1x200",
            'scribe_jobs_finished_total{model="fun-asr",fault="none"}': "0+3x200",
            'scribe_jobs_finished_total{model="fun-asr",fault="provider"}': "0+1x200",
        },
        {
            'scribe_failures_total{code="provider_error",fault="provider"}': "0x100 1x90",
            'scribe_failures_total{code="audio_not_found",fault="requester"}': "0+9x200",
            'scribe_jobs_finished_total{model="fun-asr",fault="none"}': "0+3x200",
        },
    ),
    "ScribePaidWithoutTranscript": Case(
        {'scribe_failures_total{code="result_expired",fault="operator"}': "0x90 1x90"},
        {'scribe_failures_total{code="audio_not_found",fault="requester"}': "0+9x200"},
    ),
    "ScribeMayHaveBilledTwice": Case(
        {'scribe_uncertain_submits_total{event="resubmitted"}': "0x90 1x90"},
        {'scribe_uncertain_submits_total{event="adopted"}': "0+1x200"},
    ),
    "ScribeUncertain": Case(
        {'scribe_uncertain_submissions{partition="0",instance="a"}': "1x200"},
        {'scribe_uncertain_submissions{partition="0",instance="a"}': "0x110 2x5 0x90"},
    ),
    "ScribeStageStopped": Case(
        {'scribe_stage_stopped{stage="poll"}': "1x200"}, {'scribe_stage_stopped{stage="poll"}': "0x200"}
    ),
    "ScribeInternalError": Case(
        {'scribe_internal_errors_total{boundary="job"}': "0x115 1x90"},
        {'scribe_internal_errors_total{boundary="job"}': "3x200"},
    ),
    "ScribeWorkRestored": Case(
        {"scribe_work_restored_total": "0x100 1x90"}, {"scribe_work_restored_total": "1x200"}
    ),
    "ScribeLoopStuck": Case(
        {'scribe_loop_age_seconds{loop="poll"}': "0x100 60+60x90"},
        {'scribe_loop_age_seconds{loop="poll"}': "1x200"},
    ),
    "ScribeEventLoopLate": Case(
        {
            'scribe_event_loop_lag_seconds_bucket{le="1"}': "0+10x200",
            'scribe_event_loop_lag_seconds_bucket{le="3"}': "0+30x200",
            'scribe_event_loop_lag_seconds_bucket{le="+Inf"}': "0+30x200",
        },
        {
            'scribe_event_loop_lag_seconds_bucket{le="1"}': "0+29x200",
            'scribe_event_loop_lag_seconds_bucket{le="3"}': "0+30x200",
            'scribe_event_loop_lag_seconds_bucket{le="+Inf"}': "0+30x200",
        },
    ),
    "ScribeClock": Case(
        {"scribe_clock_offset_seconds": "-3x200"}, {"scribe_clock_offset_seconds": "-0.4x200"}
    ),
    "ScribeKafkaWrites": Case(
        {'scribe_batches_total{result="unknown"}': "0+2x200"},
        {
            'scribe_batches_total{result="unknown"}': "0x115 1x90",
            'scribe_batches_total{result="committed"}': "0+50x200",
        },
    ),
    "ScribeSettingsDiffer": Case(
        {
            'scribe_settings_info{hash="1",instance="a"}': "1x200",
            'scribe_settings_info{hash="2",instance="b"}': "1x200",
        },
        {'scribe_settings_info{hash="1"}': "1x200"},
    ),
}


def in_full(series: Series) -> list[dict[str, str]]:
    """The series as promtool reads them, with the labels that a scrape adds."""
    found = []
    for written, values in series.items():
        name, _, own = written.removesuffix("}").partition("{")
        for instance in [""] if "instance=" in own else ["a", "b"]:
            replica = f'instance="{instance}"' if instance else ""
            place = "" if "namespace=" in own else PLACE
            labels = ",".join(each for each in (place, own, replica) if each)
            found.append({"series": f"{name}{{{labels}}}", "values": values})
    return found


def run(folder: Path, series: Series, alert: str, *, expected: bool, minute: int = MINUTES) -> str:
    """What promtool says; empty if the alert fires, or does not, as it should."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(groups()))
    check = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) > bool 0 or vector(0)'
    samples = [{"labels": "{}", "value": int(expected)}]
    asked = {"expr": check, "eval_time": f"{minute}m", "exp_samples": samples}
    test = {"interval": "1m", "input_series": in_full(series), "promql_expr_test": [asked]}
    text = yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]})
    (folder / "test.yaml").write_text(text)
    done = promtool("test", "rules", str(folder / "test.yaml"))
    return "" if done.returncode == 0 else done.stdout + done.stderr


def promtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """What promtool answers."""
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_every_alert_has_a_case() -> None:
    assert set(CASES) == {alert.name for alert in ALERTS}


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_on_what_it_is_for_and_on_nothing_near(tmp_path: Path, alert: str) -> None:
    assert run(tmp_path, CASES[alert].fires, alert, expected=True) == ""
    assert run(tmp_path, CASES[alert].silent, alert, expected=False) == ""


ELSEWHERE = 'scribe_build_info{namespace="elsewhere",job="scribe",instance="%s"}'


def test_an_installation_that_is_gone_is_missed_for_a_day_though_another_answers(
    tmp_path: Path,
) -> None:
    whole = {ELSEWHERE % "a": "1x100 stale", ELSEWHERE % "b": "1x100 stale", "scribe_build_info": "1x2100"}
    assert run(tmp_path, whole, "ScribeAbsent", expected=False, minute=100) == ""
    assert run(tmp_path, whole, "ScribeAbsent", expected=True, minute=107) == ""
    assert run(tmp_path, whole, "ScribeAbsent", expected=True, minute=100 + 23 * 60) == ""
    assert run(tmp_path, whole, "ScribeAbsent", expected=False, minute=100 + 25 * 60) == ""


def test_a_replica_that_was_taken_away_for_good_is_missed_for_hours_and_not_for_ever(tmp_path: Path) -> None:
    series = {'scribe_build_info{instance="a"}': "1x600", 'scribe_build_info{instance="b"}': "1x100 stale"}
    assert run(tmp_path, series, "ScribeReplicaMissing", expected=False, minute=114) == ""
    assert run(tmp_path, series, "ScribeReplicaMissing", expected=True, minute=100 + 5 * 60) == ""
    assert run(tmp_path, series, "ScribeReplicaMissing", expected=False, minute=100 + 7 * 60) == ""


def test_replicas_of_one_installation_are_not_counted_for_another(tmp_path: Path) -> None:
    series = {**ALIVE, ELSEWHERE % "a": "1x200"}
    assert run(tmp_path, series, "ScribeReplicaMissing", expected=False) == ""


def test_what_waits_for_a_limit_of_the_day_or_for_its_bill_does_not_stand_still(tmp_path: Path) -> None:
    for reason in ("spend_limit", "settle"):
        series = {f'scribe_waiting_jobs{{model="fun-asr",reason="{reason}"}}': "5x200"}
        assert run(tmp_path, series, "ScribeNothingMoves", expected=False) == ""


@pytest.mark.parametrize("factor", [1, 1 / 60])
def test_prometheus_accepts_every_rule(tmp_path: Path, factor: float) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(groups(factor)))
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS) + len(RECORDINGS)} rules found" in done.stdout
