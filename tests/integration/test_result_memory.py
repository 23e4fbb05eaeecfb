"""Result files as large as the defaults take, all at once, in a process that has the chart's memory."""

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from service.core.transcript.parse_memory import parse_bytes
from service.pipeline.collecting.fetch_memory import SMALL_BYTES, MemoryLimits
from service.settings.provider_groups import FetchSettings
from tools.chart.lint import CHART

pytestmark = [
    pytest.mark.computes,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="the most memory of a process is read from /proc"),
]
RUN_SECONDS = 240.0
READING_BYTES = MemoryLimits(FetchSettings().memory_bytes, FetchSettings().max_decoded_bytes).reading_bytes
PROCESS_BYTES = 64 * 1024**2
"""Of a process that has read nothing yet."""
REST_BYTES = 256 * 1024**2
"""What of the pod's memory is for all the rest of the service: open jobs, calls, Kafka's buffers."""


def words(count: int) -> bytes:
    """Speech of so many words, with the times of each, as the vendor gives it."""
    sentences = []
    for start in range(0, count, 12):
        given = ",".join(
            f'{{"begin_time":{at * 300},"end_time":{at * 300 + 250},"text":"hello{at}","punctuation":", "}}'
            for at in range(start, start + 12)
        )
        sentences.append(
            f'{{"begin_time":{start * 300},"end_time":{(start + 11) * 300 + 250},"text":"{"hello, " * 12}",'
            f'"sentence_id":{start},"words":[{given}]}}'
        )
    return file(f'"text":"hello","sentences":[{",".join(sentences)}]')


def unknown(count: int) -> bytes:
    """As many objects that the contract does not know."""
    objects = ",".join(['{"a":0}'] * count)
    return file(f'"text":"hello","sentences":[],"new":[{objects}]')


def wide(count: int) -> bytes:
    """One text whose every character takes four bytes for the sake of one of them."""
    return file(f'"text":"\U0001f600{"a" * count}","sentences":[]')


def file(channel: str) -> bytes:
    return f'{{"file_url":"u","properties":{{}},"transcripts":[{{"channel_id":0,{channel}}}]}}'.encode()


def at_limit(make: Callable[[int], bytes], limit_bytes: float) -> bytes:
    """A file of the kind that takes nearly all of this to be read."""
    probe = 12_000
    return make(int(0.98 * limit_bytes / parse_bytes(make(probe), is_rendered=True) * probe))


@contextmanager
def served(files: Mapping[str, bytes]) -> Iterator[str]:
    """The files on a server of our own, by their names; its origin."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files[self.path.lstrip("/")]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except ConnectionError:
                return

        def log_message(self, *_args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def fetched(files: Mapping[str, bytes]) -> tuple[dict[str, str], int]:
    """How the jobs of these files ended, and the most memory that the process had."""
    with served(files) as origin:
        command = (sys.executable, "-m", "tests.integration.fetching_worker", origin, *files)
        worker = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        async with asyncio.timeout(RUN_SECONDS):
            out, _ = await worker.communicate()
    found = json.loads(out.splitlines()[-1])
    return found["ends"], found["peak_bytes"]


def pod_bytes() -> int:
    """What the chart gives a pod."""
    limits = yaml.safe_load((Path(CHART) / "values.yaml").read_text(encoding="utf-8"))["resources"]["limits"]
    assert limits["memory"] == "1Gi"
    return 1024**3


async def test_files_at_the_limit_together_stay_within_the_charts_memory() -> None:
    large = {
        "words": words(int(0.98 * FetchSettings().max_decoded_bytes / 97)),
        "unknown": at_limit(unknown, READING_BYTES),
        "wide": at_limit(wide, READING_BYTES),
    }
    small = words(SMALL_BYTES // 97)
    assert 0.9 * SMALL_BYTES < len(small) < SMALL_BYTES
    needs = {name: parse_bytes(each, is_rendered=True) / READING_BYTES for name, each in large.items()}
    assert 0.7 < min(needs.values()) <= max(needs.values()) <= 1
    assert len(large["words"]) > 0.95 * FetchSettings().max_decoded_bytes
    ends, peak_bytes = await fetched({**large, **{f"small{number}": small for number in range(6)}})
    assert set(ends.values()) == {"result"}
    assert peak_bytes < pod_bytes() - REST_BYTES


async def test_files_over_the_limit_are_refused_and_take_no_memory() -> None:
    over = {
        "unread": at_limit(unknown, 1.1 * READING_BYTES),
        "unfetched": b" " * (FetchSettings().max_decoded_bytes + 1),
    }
    ends, peak_bytes = await fetched({f"{name}{n}": body for name, body in over.items() for n in range(4)})
    assert set(ends.values()) == {"result_unreadable"}
    assert peak_bytes < PROCESS_BYTES + 3 * FetchSettings().max_decoded_bytes
