"""Match files by URL alone, ignoring percent escapes.

The vendor may echo a URL with others.
"""

import hashlib
import json
from collections.abc import Iterable
from urllib.parse import unquote

from service.core.job.job import Job
from service.core.provider.answers import FileView, TaskView


def files_digest(urls: Iterable[str]) -> str:
    """Digest of a POST's URLs, whatever their order and percent escapes: 16 hexadecimal digits."""
    spelled = json.dumps(sorted(map(unquote, urls)))
    return hashlib.sha256(spelled.encode()).hexdigest()[:16]


def urls_known(urls: Iterable[str]) -> frozenset[int]:
    """Hashes of the URLs without percent escapes, eight bytes each.

    Comparable within this process only.
    """
    return frozenset(hash(unquote(url)) for url in urls)


def file_of(task: TaskView, job: Job) -> FileView | None:
    """The job's file in the task, found by its URL, never by its index.

    A task of one file needs no match.
    """
    exact = [file for file in task.files if file.file_url == job.file_url]
    if exact:
        return exact[0]
    alike = [file for file in task.files if unquote(file.file_url) == unquote(job.file_url)]
    if len(alike) == 1:
        return alike[0]
    return task.files[0] if len(task.files) == 1 and job.task_files == 1 else None
