"""Decide on a copy of a shard, and let it count whole or not at all."""

from collections import OrderedDict
from dataclasses import replace

from service.core.identity import JobKey
from service.core.shard import Shard
from service.errors import InvalidRecord
from service.messages import DecodedRequest


def draft_of(shard: Shard, read: DecodedRequest | InvalidRecord) -> Shard:
    """A copy that knows this request alone; nothing that happens to it happens to the shard."""
    request = None if isinstance(read, InvalidRecord) else (read.request.request_id, read.request.replay)
    draft = replace(
        shard, jobs={}, tallies={}, remembered=OrderedDict(), remembered_jobs=0, spend=replace(shard.spend)
    )
    tally = None if request is None else shard.tallies.get(request)
    if request is None or tally is None:
        return draft
    draft.tallies[request] = tally.copy()
    keys = (JobKey(*request, index) for index in tally.open)
    draft.jobs.update({key: shard.jobs[key] for key in keys})
    if request in shard.remembered:
        draft.remembered[request] = shard.remembered[request]
        draft.remembered_jobs = tally.job_count
    return draft


def adopt(shard: Shard, draft: Shard) -> None:
    """Let the shard become what its draft has become: assignments alone, none of which can fail."""
    for request in draft.tallies.keys() & shard.remembered.keys() - draft.remembered.keys():
        del shard.remembered[request]
        shard.remembered_jobs -= shard.tallies[request].job_count
    shard.cursor, shard.spend = draft.cursor, draft.spend
    shard.jobs.update(draft.jobs)
    shard.tallies.update(draft.tallies)
