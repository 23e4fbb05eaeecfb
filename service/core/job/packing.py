"""Pack jobs into submissions: which files, of one request or of several, may share a POST.

Rules this module guarantees:

1. No submission holds one URL twice, percent escapes aside: results are matched by URL without them.
2. Two requests share a POST only if it would be the same for both but for its files.
"""

import json
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from urllib.parse import unquote

from service.contract.model_table import ModelInfo
from service.core.job.accepted_request import AcceptedRequest
from service.core.job.identity import JobRef, Origin


def files_per_task(info: ModelInfo, asked: int | None) -> int:
    """How many files one task may hold: `asked` or the model's number, or 1 if its POST takes one file."""
    return (asked or info.files_per_task) if info.takes_several_files else 1


def plan_submissions(
    files: Iterable[tuple[JobRef, str]], files_per_task: int
) -> tuple[tuple[JobRef, ...], ...]:
    """Divide jobs, given with their URLs, into submissions."""
    plans: list[tuple[list[JobRef], set[str]]] = []
    for ref, url in files:
        plain = unquote(url)
        fitting = (plan for plan in plans if len(plan[0]) < files_per_task and plain not in plan[1])
        plan = next(fitting, None)
        if plan is None:
            plans.append(plan := ([], set()))
        plan[0].append(ref)
        plan[1].add(plain)
    return tuple(tuple(refs) for refs, _ in plans)


def files_of(request: AcceptedRequest) -> list[tuple[JobRef, str]]:
    """The request's jobs with their URLs."""
    return [(request.ref(file.index), file.url) for file in request.files]


def content_of(request: AcceptedRequest) -> str:
    """What a POST for the request sends besides its files, as a short text: model and options.

    Hotwords are among the options, so that requests of equal contents also use the same list.
    """
    if not request.options:
        return request.model
    spelled = json.dumps(request.options, sort_keys=True, separators=(",", ":"))
    return f"{request.model} {blake2b(spelled.encode(), digest_size=16).hexdigest()}"


def by_request(refs: Sequence[JobRef]) -> tuple[tuple[JobRef, ...], ...]:
    """The jobs, divided by their requests."""
    parts: dict[Origin, list[JobRef]] = {}
    for ref in refs:
        parts.setdefault(ref.origin, []).append(ref)
    return tuple(map(tuple, parts.values()))
