"""Submissions that may share a POST: what `service/pipeline/submit_queue` does around the core.

There only those that wait for quota share one, and only after their request is durable; here it may be any
that was never tried.
"""

from service.core.job.identity import SubmissionKey
from service.core.job.packing import content_of
from service.core.shard.shard import Shard


def companions(shard: Shard, key: SubmissionKey) -> tuple[SubmissionKey, ...]:
    """Those that would send the same as the submission, but for the files."""
    if not shard.may_share(shard.submissions[key]):
        return ()
    content = _content(shard, key)
    fresh = (each for each in shard.unwritten if each != key and shard.may_share(shard.submissions[each]))
    return tuple(each for each in fresh if _content(shard, each) == content)


def _content(shard: Shard, key: SubmissionKey) -> str | None:
    jobs = shard.open_jobs(key)
    return content_of(jobs[0].request) if jobs else None


def is_of_several(shard: Shard, key: SubmissionKey) -> bool:
    """Whether the submission has jobs of several requests."""
    submission = shard.submissions.get(key)
    return submission is not None and len({ref.origin for ref in submission.jobs}) > 1
