"""How far a request has come: what is open, what is decided, what is on its way."""

from service.contract.outcome import RequestSummary
from service.core.job.accepted_request import FileEnd
from service.core.job.request_progress import RequestProgress

TWO = RequestProgress(2, (0, 4))


def test_a_request_is_decided_before_it_is_written_and_written_before_it_is_durable() -> None:
    progress = TWO.with_end(FileEnd(0, True, 3)).with_end(FileEnd(4, False, None))
    assert (TWO.is_decided, progress.is_decided, progress.is_written) == (False, True, False)
    progress = progress.with_written(0).with_written(4)
    assert progress.is_written
    assert progress.open == (0, 4)
    assert progress.without_open(0).open == (4,)


def test_the_sum_counts_what_is_decided() -> None:
    progress = TWO.with_end(FileEnd(4, False, None)).with_end(FileEnd(0, True, 3))
    assert progress.summary() == RequestSummary(succeeded=1, failed=1, billed_seconds=3)
    assert [end.file_index for end in progress.all_ends()] == [0, 4]
    assert progress.without_end(4).summary() == RequestSummary(succeeded=1, failed=0, billed_seconds=3)


def test_an_end_that_is_known_better_counts_once() -> None:
    progress = TWO.with_end(FileEnd(0, True, None)).with_end(FileEnd(0, True, 7))
    assert progress.summary().billed_seconds == 7


def test_job_records_are_remembered_for_their_tombstones() -> None:
    progress = TWO.with_record(4)
    assert progress.recorded == {4}
    assert progress.with_record(4) is progress
