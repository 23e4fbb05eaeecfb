"""A draft reads through to its shard, and counts whole or not at all."""

from service.core.job.events import CancelAsked, CancelTask, Fetch, Poll, QueueSubmit, Reconcile
from service.core.job.identity import JobRef, Origin, SubmissionKey
from service.core.job.submission import Counters
from service.core.job.transition_context import Successor, open_jobs
from service.core.shard.draft import Draft, Overlay
from service.core.shard.shard import Shard
from tests.unit.core.samples import NOW_MS, context, request_record
from tests.unit.core.shard_world import take

KEY = SubmissionKey(0, 1)
REF = JobRef(Origin(0, 0), 0)


def opened() -> Shard:
    """A shard with one job that waits."""
    shard = Shard(0)
    take(shard, request_record(0))
    return shard


def test_an_overlay_changes_its_mapping_only_when_it_is_adopted() -> None:
    base = {"a": 1, "b": 2}
    overlay: Overlay[str, int] = Overlay(base)
    overlay["a"] = 3
    overlay["c"] = 4
    overlay.pop("b")
    overlay.pop("none")
    assert (overlay["a"], overlay.get("b"), "b" in overlay, "c" in overlay) == (3, None, False, True)
    assert overlay.changed() == ["a", "c"]
    assert base == {"a": 1, "b": 2}
    overlay.adopt()
    assert base == {"a": 3, "c": 4}


def test_a_draft_that_is_not_adopted_changes_nothing() -> None:
    shard, other = opened(), opened()
    draft = Draft(shard)
    draft.cursor = draft.cursor.__class__(9)
    draft.spend = draft.spend.count(NOW_MS, 5)
    draft.jobs.pop(REF)
    draft.end_submission(draft.submissions[KEY])
    draft.new_submission(Successor((REF,), "fun-asr", Counters(), 0), NOW_MS)
    assert shard == other
    draft.adopt()
    assert (list(shard.jobs), list(shard.submissions)) == ([], [SubmissionKey(0, 2)])
    assert shard.cursor.next_offset == 9


def test_what_is_missing_is_missing() -> None:
    draft = Draft(opened())
    try:
        draft.jobs[JobRef(Origin(0, 9), 0)]
    except KeyError:
        return
    raise AssertionError("a job that there is not")


def test_steps_for_submissions_that_are_over_are_left_out() -> None:
    draft = Draft(opened())
    steps = (
        QueueSubmit(KEY, 1),
        Poll(KEY, "t", 1),
        Reconcile(KEY, 1, 1),
        Fetch(REF, "u", 1),
        CancelTask("t"),
    )
    assert draft.still_wanted(steps) == steps
    draft.end_submission(draft.submissions[KEY])
    assert draft.still_wanted(steps) == steps[3:]


def test_a_job_whose_ending_is_decided_is_in_no_submission_any_more() -> None:
    shard = opened()
    assert [job.ref for job in shard.open_jobs(KEY)] == [REF]
    submission = shard.submissions[KEY]
    shard.on_job(REF, CancelAsked(), context())
    assert open_jobs(submission, Draft(shard).jobs) == {}
