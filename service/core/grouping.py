"""The jobs of a new request, and which of its files may share a provider task."""

from collections.abc import Sequence
from urllib.parse import unquote

from service.contract.models import ModelInfo
from service.core.job import Job, Spec


def files_per_task(info: ModelInfo, asked: int | None) -> int:
    """How many files one task may hold: as many as were asked for, where its submit has room for several."""
    return (asked or info.files_per_task) if info.takes_several_files else 1


def new_jobs(spec: Spec, files: Sequence[tuple[int, str]], files_per_task: int) -> tuple[Job, ...]:
    """The jobs of a freshly accepted request; `files` are (file_index, url) pairs."""
    groups = plan_groups([url for _, url in files], files_per_task)
    return tuple(Job(spec, index, url, group) for (index, url), group in zip(files, groups, strict=True))


def plan_groups(file_urls: Sequence[str], files_per_task: int) -> list[int]:
    """Say for each file which provider task of the request it goes into.

    Results are matched by URL, percent escapes aside, so two files with one URL never share a task.
    """
    groups: list[int] = []
    members: list[set[str]] = []
    for url in map(unquote, file_urls):
        fitting = (g for g, urls in enumerate(members) if len(urls) < files_per_task and url not in urls)
        group = next(fitting, len(members))
        if group == len(members):
            members.append(set())
        members[group].add(url)
        groups.append(group)
    return groups
