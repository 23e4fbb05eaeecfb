"""Decide on a copy of a shard, and let it count whole or not at all."""

from collections import ChainMap, OrderedDict
from dataclasses import dataclass, replace

from service.core.identity import JobKey
from service.core.shard import RequestKey, Shard
from service.core.tally import Tally
from service.errors import InvalidRecord
from service.messages import DecodedRequest


@dataclass(frozen=True, slots=True)
class Draft:
    """`shard` knows the jobs of one request, and may change them; of all others it knows how far they are."""

    shard: Shard
    tallies: dict[RequestKey, Tally]
    """What may have changed."""


def draft_of(shard: Shard, read: DecodedRequest | InvalidRecord) -> Draft:
    """A copy for what a record may change; nothing that happens to it happens to the shard."""
    own: dict[RequestKey, Tally] = {}
    copy = replace(
        shard,
        jobs={},
        tallies=ChainMap(own, shard.tallies),
        remembered=OrderedDict(),
        remembered_jobs=0,
        spend=replace(shard.spend),
    )
    request = None if isinstance(read, InvalidRecord) else (read.request.request_id, read.request.replay)
    tally = None if request is None else shard.tallies.get(request)
    if request is None or tally is None:
        return Draft(copy, own)
    own[request] = tally.copy()
    copy.jobs.update({key: shard.jobs[key] for key in (JobKey(*request, index) for index in tally.open)})
    if request in shard.remembered:
        copy.remembered[request] = shard.remembered[request]
        copy.remembered_jobs = tally.job_count
    return Draft(copy, own)


def adopt(shard: Shard, draft: Draft) -> None:
    """Let the shard become what its draft has become: assignments alone, none of which can fail."""
    copy = draft.shard
    for request in draft.tallies.keys() & shard.remembered.keys() - copy.remembered.keys():
        del shard.remembered[request]
        shard.remembered_jobs -= shard.tallies[request].job_count
    shard.cursor, shard.spend = copy.cursor, copy.spend
    shard.jobs.update(copy.jobs)
    shard.tallies.update(draft.tallies)
