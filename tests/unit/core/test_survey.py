"""What a journal partition says of tasks: whose they are, and which submits are in doubt."""

import pytest

from service.core.entry import CURSOR_KEY, Marker, Stamp, encode_cursor, encode_job, encode_marker
from service.core.identity import JobKey
from service.core.job import State
from service.core.record import Cursor
from service.core.survey import Survey
from service.errors import RestoreError
from tests.unit.core.samples import KEY, job

KEY_TEXT = str(KEY)
RUNNING, DOUBTFUL = encode_job(job(State.RUNNING)), encode_job(job(State.UNCERTAIN))
INTENDED = encode_job(job(State.SUBMITTING))


def survey(*entries: tuple[int, bytes | None], wanted: tuple[str, ...] = ("t0", "t1", "t2")) -> Survey:
    """A survey that has taken these entries, epoch and value, of one job."""
    found = Survey(3, frozenset(wanted))
    for offset, (epoch, value) in enumerate(entries):
        found.add(offset, KEY_TEXT, value, Stamp(epoch, 1).encode())
    return found


def test_a_running_jobs_task_is_known() -> None:
    assert survey((1, RUNNING)).known() == {"t1"}
    assert survey((1, RUNNING)).in_doubt() == []


def test_a_task_that_nobody_asked_for_is_not_kept() -> None:
    assert survey((1, RUNNING), wanted=("t2",)).known() == set()


def test_a_task_that_a_job_gave_up_is_known() -> None:
    entry = encode_job(job(State.WAITING, former_tasks=("t0", "t2")))
    assert survey((1, entry)).known() == {"t0", "t2"}


def test_a_finished_jobs_tasks_are_known_while_its_marker_lives() -> None:
    marker = encode_marker(Marker(KEY, "d", 1, True, 9, 5, ("t0", "t1")))
    assert survey((1, RUNNING), (1, marker)).known() == {"t0", "t1"}
    assert survey((1, marker), (1, None)).known() == set()


@pytest.mark.parametrize("entry", [DOUBTFUL, INTENDED])
def test_a_submit_without_an_answer_is_in_doubt(entry: bytes) -> None:
    [found] = survey((1, entry)).in_doubt()
    assert found.key == JobKey("r", 0, 0)
    assert survey((1, entry), (1, RUNNING)).in_doubt() == []


def test_what_a_stranger_wrote_behind_a_claim_counts_for_nothing() -> None:
    """Its task may be the one that is looked for."""
    found = survey((1, INTENDED), (2, DOUBTFUL), (1, RUNNING))
    assert found.known() == set()
    assert [each.state for each in found.in_doubt()] == [State.UNCERTAIN]


def test_the_shards_own_entries_say_nothing_of_tasks() -> None:
    found = survey()
    found.add(0, CURSOR_KEY, encode_cursor(Cursor(7)), Stamp(1, 1).encode())
    assert (found.known(), found.in_doubt()) == (set(), [])


@pytest.mark.parametrize(
    ("value", "stamp"), [(b"{", b"1.1.1"), (RUNNING, None), (b'{"state": "no"}', b"1.1.1")]
)
def test_what_cannot_be_read_is_an_error(value: bytes, stamp: bytes | None) -> None:
    with pytest.raises(RestoreError, match="partition 3, offset 7"):
        survey().add(7, KEY_TEXT, value, stamp)
