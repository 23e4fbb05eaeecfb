"""Submissions that share a POST: the core has no rule yet which do, so chance decides.

What it does is what a rule would: two that were never tried become one, and nothing has to be written.
"""

from dataclasses import replace
from urllib.parse import unquote

from service.core.job.identity import SubmissionKey
from service.core.job.submission import Submission
from service.core.job.transition_context import Successor
from service.core.shard.draft import Draft
from service.core.shard.shard import Shard


def companions(shard: Shard, key: SubmissionKey) -> list[SubmissionKey]:
    """Those that may share the submission's POST: new as it is, alike in all but the files."""
    one = shard.submissions[key]
    if key not in shard.unwritten or one.is_synchronous:
        return []
    others = (shard.submissions[each] for each in shard.unwritten if each != key)
    return [other.key for other in others if _are_alike(shard, one, other)]


def _are_alike(shard: Shard, one: Submission, other: Submission) -> bool:
    jobs, more = shard.open_jobs(one.key), shard.open_jobs(other.key)
    if not jobs or not more or one.model != other.model:
        return False
    urls = [unquote(job.file_url) for job in (*jobs, *more)]
    return jobs[0].request.options == more[0].request.options and len(set(urls)) == len(urls)


def pack(shard: Shard, key: SubmissionKey, other: SubmissionKey, now_ms: int) -> SubmissionKey:
    """Put the open jobs of both into one submission; its key."""
    draft, one = Draft(shard), shard.submissions[key]
    refs = tuple(job.ref for each in (key, other) for job in shard.open_jobs(each))
    packed = draft.new_submission(Successor(refs, one.model, one.counters, one.due_ms), now_ms)
    for ref in refs:
        draft.jobs[ref] = replace(draft.jobs[ref], submission=packed.key)
    for each in (key, other):
        draft.end_submission(shard.submissions[each])
    draft.adopt()
    return packed.key
