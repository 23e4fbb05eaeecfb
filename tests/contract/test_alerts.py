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
WEEK = 7 * 24 * 60

Series = Mapping[str, str]
"""Names with their own labels, and values as promtool writes them: `0x9 1x100` is ten times 0, then 1."""


class Case(NamedTuple):
    """What must fire, and what must not."""

    fires: Series
    silent: Series
    minute: int = MINUTES
    every: int = 1
    """Minutes between two samples."""


ALIVE = {"scribe_build_info": "1x200"}
SHARDS = 'scribe_shard_state{state="ready",partition="%d",instance="%s"}'


def served(*places: tuple[int, str]) -> dict[str, str]:
    """Three partitions, of which these replicas serve these."""
    return {"scribe_request_partitions": "3x200", **{SHARDS % place: "1x200" for place in places}}


def results(whole: str, on_time: str) -> dict[str, str]:
    """Results, and those of them within 60 s."""
    return {
        "scribe_result_own_seconds_count": whole,
        'scribe_result_own_seconds_bucket{le="60.0"}': on_time,
        'scribe_result_own_seconds_bucket{le="+Inf"}': whole,
    }


def finished(none: str, **faults: str) -> dict[str, str]:
    """Files that ended, by whose fault they failed."""
    ended = 'scribe_jobs_finished_total{model="fun-asr",fault="%s"}'
    return {ended % fault: values for fault, values in {"none": none, **faults}.items()}


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
            'scribe_waiting_jobs{model="fun-asr",reason="backoff"}': "5x200",
        },
        {
            'scribe_waiting_jobs{model="fun-asr",reason="hold"}': "5x200",
            'scribe_budget_rate_per_second{kind="submit",model="fun-asr"}': "1x200",
            'scribe_budget_share_per_second{kind="submit",model="fun-asr"}': "4x200",
            'scribe_waiting_jobs{model="fun-asr",reason="quota"}': "0x200",
        },
    ),
    "ScribeResultsLateFast": Case(results("0+10x200", "0+9x30 270+5x200"), results("0+10x200", "0+9x200")),
    "ScribeResultsLateSlow": Case(results("0+10x200", "0+9x200"), results("0+100x200", "0+95x200")),
    "ScribeFilesFailFast": Case(
        finished("0+8x200", provider="0+1x200", service="0+1x200"),
        finished("0+8x200", provider="0+1x200", requester="0+9x200"),
    ),
    "ScribeFilesFailSlow": Case(
        finished("0+9x200", provider="0+1x200"), finished("0+95x200", operator="0+5x200", requester="0+9x200")
    ),
    "ScribeSpendNearLimit": Case(
        {'scribe_billed_seconds_today{partition="0"}': "810x200", "scribe_billed_seconds_limit": "1000x200"},
        {
            'scribe_billed_seconds_today{partition="0"}': "790x200",
            "scribe_billed_seconds_limit": "1000x200",
            'scribe_billed_cost_today{partition="0"}': "9x200",
            "scribe_billed_cost_limit": "12x200",
        },
    ),
    "ScribeSpendAboveLastWeek": Case(
        {'scribe_billed_seconds_today{partition="0"}': "30000x170 70000x200"},
        {'scribe_billed_seconds_today{partition="0"}': "30000x170 50000x200"},
        minute=WEEK + MINUTES,
        every=30,
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


class Asked(NamedTuple):
    """Whether an alert fires at a minute of these series."""

    series: Series
    alert: str
    expected: bool
    minute: int = MINUTES
    every: int = 1


def run(folder: Path, *asked: Asked) -> str:
    """What promtool says; empty if each alert fires, or does not, as it should."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(groups()))
    every = f"{asked[0].every}m"
    tests = [
        {
            "interval": every,
            "input_series": in_full(series),
            "promql_expr_test": [_question(each) for each in asked if each.series == series],
        }
        for number, (series, *_) in enumerate(asked)
        if series not in [each.series for each in asked[:number]]
    ]
    whole = {"rule_files": ["rules.yaml"], "evaluation_interval": every, "tests": tests}
    (folder / "test.yaml").write_text(yaml.safe_dump(whole))
    done = promtool("test", "rules", str(folder / "test.yaml"))
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _question(asked: Asked) -> dict[str, object]:
    check = f'count(ALERTS{{alertname="{asked.alert}",alertstate="firing"}}) > bool 0 or vector(0)'
    samples = [{"labels": "{}", "value": int(asked.expected)}]
    return {"expr": check, "eval_time": f"{asked.minute}m", "exp_samples": samples}


def promtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """What promtool answers."""
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_every_alert_has_a_case() -> None:
    assert set(CASES) == {alert.name for alert in ALERTS}


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_on_what_it_is_for_and_on_nothing_near(tmp_path: Path, alert: str) -> None:
    fires, silent, *when = CASES[alert]
    assert run(tmp_path, Asked(fires, alert, True, *when), Asked(silent, alert, False, *when)) == ""


ELSEWHERE = 'scribe_build_info{namespace="elsewhere",job="scribe",instance="%s"}'


def test_an_installation_that_is_gone_is_missed_for_a_day_though_another_answers(
    tmp_path: Path,
) -> None:
    whole = {ELSEWHERE % "a": "1x20 stale", ELSEWHERE % "b": "1x20 stale", "scribe_build_info": "1x420"}
    moments = {100: False, 110: True, 100 + 23 * 60: True, 100 + 25 * 60: False}
    asked = (Asked(whole, "ScribeAbsent", fires, at, every=5) for at, fires in moments.items())
    assert run(tmp_path, *asked) == ""


def test_a_replica_that_was_taken_away_for_good_is_missed_for_hours_and_not_for_ever(tmp_path: Path) -> None:
    series = {'scribe_build_info{instance="a"}': "1x600", 'scribe_build_info{instance="b"}': "1x100 stale"}
    moments = {114: False, 100 + 5 * 60: True, 100 + 7 * 60: False}
    asked = (Asked(series, "ScribeReplicaMissing", fires, at) for at, fires in moments.items())
    assert run(tmp_path, *asked) == ""


def test_replicas_of_one_installation_are_not_counted_for_another(tmp_path: Path) -> None:
    assert run(tmp_path, Asked({**ALIVE, ELSEWHERE % "a": "1x200"}, "ScribeReplicaMissing", False)) == ""


def test_what_waits_for_a_limit_of_the_day_or_for_its_bill_does_not_stand_still(tmp_path: Path) -> None:
    waiting = 'scribe_waiting_jobs{model="fun-asr",reason="%s"}'
    asked = (
        Asked({waiting % reason: "5x200"}, "ScribeNothingMoves", False)
        for reason in ("spend_limit", "settle")
    )
    assert run(tmp_path, *asked) == ""


DELAY = ("ScribeResultsLateFast", "ScribeResultsLateSlow")
BURNS = (*DELAY, "ScribeFilesFailFast", "ScribeFilesFailSlow")


def test_one_bad_file_of_three_fires_no_alert(tmp_path: Path) -> None:
    three, two, one = "0x80 1x10 2x20 3x100", "0x80 1x10 2x120", "0x100 1x110"
    series = {**results(three, two), **finished(two, provider=one)}
    moments = range(102, 160, 9)
    assert run(tmp_path, *(Asked(series, alert, False, at) for alert in BURNS for at in moments)) == ""


def test_few_bad_files_fire_no_alert_in_a_prometheus_that_has_just_begun(tmp_path: Path) -> None:
    series = {**results("0x5 1x3 2x60", "0x70"), **finished("0x70", provider="0x5 1x3 2x60")}
    assert run(tmp_path, *(Asked(series, alert, False, at) for alert in BURNS for at in (9, 25, 30))) == ""


@pytest.mark.parametrize("alert", BURNS)
def test_a_budget_that_no_longer_burns_fires_no_more(tmp_path: Path, alert: str) -> None:
    bad, good = "0+10x80 800x200", "0x80 0+10x200"
    series = {**results("0+10x300", good), **finished(good, provider=bad)}
    end = 81 + (10 if alert.endswith("Fast") else 40)
    assert run(tmp_path, Asked(series, alert, True, 80), Asked(series, alert, False, end)) == ""


@pytest.mark.parametrize(
    "pause", ['scribe_hold{code="Arrearage"}', 'scribe_provider_outage{model="fun-asr"}']
)
def test_what_a_hold_or_an_outage_delays_is_not_our_delay_until_an_hour_after_it(
    tmp_path: Path, pause: str
) -> None:
    series = {**results("0+10x400", "0x400"), pause: "1x90 0x300"}
    moments = {90: False, 149: False, 200: True}
    asked = (Asked(series, alert, fires, at) for alert in DELAY for at, fires in moments.items())
    assert run(tmp_path, *asked) == ""


def test_a_limit_of_cost_is_near_too(tmp_path: Path) -> None:
    series = {'scribe_billed_cost_today{partition="0"}': "9x200", "scribe_billed_cost_limit": "11x200"}
    assert run(tmp_path, Asked(series, "ScribeSpendNearLimit", True)) == ""


def test_little_audio_or_no_week_before_it_is_not_compared(tmp_path: Path) -> None:
    billed, alert = 'scribe_billed_seconds_today{partition="0"}', "ScribeSpendAboveLastWeek"
    _, _, *when = CASES[alert]
    little, new = "3000x170 35000x200", "_x170 70000x200"
    assert run(tmp_path, *(Asked({billed: each}, alert, False, *when) for each in (little, new))) == ""


@pytest.mark.parametrize("factor", [1, 1 / 60])
def test_prometheus_accepts_every_rule(tmp_path: Path, factor: float) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(groups(factor)))
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS) + len(RECORDINGS)} rules found" in done.stdout
