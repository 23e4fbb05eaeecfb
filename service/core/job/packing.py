"""Pack the jobs of a request into submissions: which files may share a POST."""

from collections.abc import Iterable
from urllib.parse import unquote

from service.contract.model_table import ModelInfo
from service.core.job.accepted_request import AcceptedRequest
from service.core.job.identity import JobRef


def files_per_task(info: ModelInfo, asked: int | None) -> int:
    """How many files one task may hold: `asked` or the model's number, or 1 if its POST takes one file."""
    return (asked or info.files_per_task) if info.takes_several_files else 1


def plan_submissions(
    files: Iterable[tuple[JobRef, str]], files_per_task: int
) -> tuple[tuple[JobRef, ...], ...]:
    """Divide jobs, given with their URLs, into submissions.

    Results are matched by URL without percent escapes, so no submission holds one URL twice.
    """
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
