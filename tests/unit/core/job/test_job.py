"""Jobs: what they are called, whose file they are for, and whether their ending is decided."""

import pytest

from service.core.job.identity import JobKey
from service.core.job.job import JobState
from tests.unit.core.samples import job, request_of, url


def test_a_key_names_request_replay_and_file() -> None:
    asked = request_of(4, replay=2)
    key = job(request=asked, ref=asked.ref(3)).key
    assert str(key) == "r/2/3"
    assert key.request == ("r", 2)
    assert key == JobKey("r", 2, 3)


def test_a_job_is_for_its_file_of_the_request_and_for_no_other() -> None:
    asked = request_of(4)
    assert job(request=asked, ref=asked.ref(3)).file_url == url(3)
    with pytest.raises(KeyError):
        asked.url(4)


def test_the_last_task_of_a_job_is_its_task() -> None:
    assert job().task_id is None
    assert job(task_ids=("t1", "t2")).task_id == "t2"


def test_a_job_is_open_until_its_ending_is_decided() -> None:
    closed = {state for state in JobState if not job(state).is_open}
    assert closed == {JobState.FINISHING, JobState.DONE}
