"""Refused submits of several files: which are divided, how, and whose failure they are."""

from dataclasses import replace

import pytest

from service.contract.models import MODELS
from service.core.division import group_alone, is_about_number, may_be_about_one
from service.core.events import Intended, SubmitRefused
from service.core.grouping import files_per_task, plan_groups
from service.core.job import State
from service.core.task import Trouble
from service.core.transitions import advance
from service.errors import FailureCode
from service.messages import MAX_FILES
from tests.unit.core.samples import job, moment

NUMBERS = [
    "input.file_urls must not hold more than 1 urls",
    "file_urls size exceeds the limit of 1",
    "The number of file urls exceeds the maximum",
    "The size of file_urls must be at most 1.",
    "Too many files in input.file_urls",
    "Only one file_url is supported",
    "only a single url is allowed in input.file_urls",
    "input.file_urls: max 1",
    "Exceeded limit on max urls per request: 1",
    "FILE_URLS LIMIT",
]
OTHERS = [
    "url error, please check url！",
    "input must contain file_urls",
    "task can not be null",
    "parameters.channel_id must be an array of integers",
    "Exceeded limit on max bytes per data-uri item : 10485760",
    "The audio is empty",
    "",
]


@pytest.mark.parametrize("message", NUMBERS)
def test_a_number_of_files_is_recognised_in_many_words(message: str) -> None:
    assert is_about_number(Trouble("InvalidParameter", message, 400))


@pytest.mark.parametrize("message", OTHERS)
def test_another_fault_is_not_taken_for_the_number_and_is_divided_all_the_same(message: str) -> None:
    trouble = Trouble("InvalidParameter", message, 400)
    assert not is_about_number(trouble)
    assert may_be_about_one(trouble)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("InvalidParameter", "Model not exist. It takes only file_urls."),
        ("ModelNotFound", "no"),
        ("AccessDenied", "only file_urls"),
        ("Arrearage", "file_urls limit"),
        ("Throttling.RateQuota", "max file_urls"),
        ("InternalError", "too many files"),
        ("timeout", "one file_url"),
        ("http_error", "one file_url"),
    ],
)
def test_what_is_of_all_files_alike_is_not_divided(code: str, message: str) -> None:
    trouble = Trouble(code, message, 400)
    assert not is_about_number(trouble)
    assert not may_be_about_one(trouble)


@pytest.mark.parametrize(
    "code",
    [
        "InvalidURL",
        "DataInspectionFailed",
        "BadRequest.InputDownloadFailed",
        "InvalidFile.Size",
        "InvalidFile.New",
    ],
)
def test_a_fault_of_one_file_is_not_that_of_the_files_beside_it(code: str) -> None:
    refused = SubmitRefused(Trouble(code, "no", 400))
    together = advance(job(State.SUBMITTING, task_files=2, group=3, file_index=7), refused, moment())
    assert (together.job.state, together.job.group) == (State.ACCEPTED, group_alone(7))
    assert (together.job.submit_attempts, together.job.refusals, together.durable) == (0, 0, True)
    alone = advance(job(State.SUBMITTING, task_files=1), refused, moment())
    assert alone.job.state in (State.FINISHING, State.WAITING)


def test_a_refused_number_is_no_jobs_failure_and_keeps_its_group_together() -> None:
    trouble = Trouble("InvalidParameter", NUMBERS[0], 400)
    kept = advance(job(State.SUBMITTING, task_files=5, group=3), SubmitRefused(trouble), moment())
    assert (kept.job.state, kept.job.group, kept.job.submit_attempts) == (State.ACCEPTED, 3, 0)
    assert kept.job.task_files == 0
    alone = advance(job(State.SUBMITTING, task_files=1), SubmitRefused(trouble), moment())
    assert alone.job.ending is not None
    assert alone.job.ending.code is FailureCode.SUBMIT_REJECTED  # type: ignore[union-attr]


def test_a_cancelled_or_overdue_job_is_not_kept_by_a_refused_number() -> None:
    refused = SubmitRefused(Trouble("InvalidParameter", NUMBERS[0], 400))
    for each in (job(State.SUBMITTING, task_files=2, cancelled=True),):
        assert advance(each, refused, moment()).job.state is State.FINISHING
    late = moment(now_ms=10**14)
    assert advance(job(State.SUBMITTING, task_files=2), refused, late).job.state is State.FINISHING


def test_the_group_of_a_part_is_none_that_a_request_can_have() -> None:
    planned = set(plan_groups([f"https://h/{n}" for n in range(MAX_FILES)], 1))
    assert not planned & {group_alone(index) for index in range(MAX_FILES)}


def test_an_intent_may_take_a_job_out_of_its_group() -> None:
    before = job(State.ACCEPTED, group=3)
    assert advance(before, Intended(5), moment()).job.group == 3
    assert advance(before, Intended(5, group=107), moment()).job.group == 107


@pytest.mark.parametrize(
    ("model", "asked", "expected"),
    [
        ("fun-asr", None, 1),
        ("fun-asr", 1, 1),
        ("fun-asr", 100, 100),
        ("paraformer-v2", 7, 7),
        ("qwen-audio-3.1-asr-flash-filetrans", 7, 7),
        ("qwen3-asr-flash-filetrans", 7, 1),
        ("qwen3-asr-flash", 7, 1),
        ("fun-asr-flash", 7, 1),
        ("qwen3.8-omni-flash", 7, 1),
    ],
)
def test_a_set_number_counts_instead_of_the_tables_where_the_wire_has_room(
    model: str, asked: int | None, expected: int
) -> None:
    info = replace(MODELS[model], files_per_task=1)
    assert files_per_task(info, asked) == expected


def test_the_tables_number_counts_where_none_is_set() -> None:
    assert files_per_task(replace(MODELS["fun-asr"], files_per_task=20), None) == 20
    assert files_per_task(replace(MODELS["fun-asr"], files_per_task=20), 5) == 5
