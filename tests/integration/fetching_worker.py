"""`python -m tests.integration.fetching_worker ORIGIN NAME...`: fetch and read files, with the defaults.

All of it is the service's own but the broker: records are encoded and dropped. The last line of its output is
JSON: how each job ended, and the most memory that the process ever had.
"""

import asyncio
import json
import sys
from pathlib import Path

from pydantic import SecretStr

from service.clock import SystemClock
from service.contract.outcome import Failure
from service.contract.output_formats import OutputFormat
from service.core.job.events import Step
from service.core.job.identity import Origin, SubmissionKey
from service.core.job.job import Job, JobState
from service.core.job.request_progress import RequestProgress
from service.core.job.submission import SubmissionState
from service.core.job.transition_context import Rules
from service.core.outcome.build import Outcome
from service.core.shard.batches import Appended, Batch, Committed
from service.core.shard.shard import Shard
from service.observability.instrumentation import PipelineInstrumentation
from service.observability.metrics import Metrics
from service.pipeline.collect import CollectDeps, CollectStage, ResultFile
from service.pipeline.collecting.fetch_memory import FetchMemory, MemoryLimits
from service.pipeline.guards.result_hold import ResultHolds
from service.pipeline.shard.backlog import Backlog
from service.pipeline.shard.shard_runner import RunnerDeps, ShardRunner
from service.pipeline.shard.stage_breaker import StageBreaker
from service.provider.dashscope import DashScope, DashScopeConfig
from service.provider.result_files import FetchGuard
from service.settings.groups import LimitSettings
from service.settings.provider_groups import FetchSettings
from tests.unit.core.samples import job, request, submission
from tests.unit.pipeline.world import Spawner


class Dropping:
    """A writer that encodes every record, as Kafka's does, and keeps none."""

    async def append(self, batch: Batch) -> Appended:
        for outcome in batch.outcomes:
            await asyncio.sleep(0)
            outcome.body.to_bytes()
        return Committed(batch.number)

    async def prove(self) -> Appended:
        return Committed(0)

    async def release(self) -> Appended:
        return Committed(0)

    async def close(self) -> None:
        return


class Ends(PipelineInstrumentation):
    """How jobs ended; `all_over` once there are as many as expected."""

    def __init__(self, expected: int) -> None:
        super().__init__(Metrics(clock=SystemClock()))
        self.ends: dict[str, str] = {}
        self.all_over = asyncio.Event()
        self._expected = expected

    def published(self, outcome: Outcome) -> None:
        body = outcome.body
        self.ends[body.request_id or ""] = str(body.code) if isinstance(body, Failure) else "result"
        if len(self.ends) == self._expected:
            self.all_over.set()


def peak_bytes() -> int:
    """The most memory of this process (VmHWM, as a container counts what is resident)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    [line] = [line for line in lines if line.startswith("VmHWM:")]
    return 1024 * int(line.split()[1])


def add_finished(state: Shard, name: str) -> Job:
    """Give the shard a job whose task has finished, that wants every rendering."""
    now_ms = SystemClock().now_ms()
    origin = Origin(0, len(state.requests))
    asked = request(
        origin=origin, request_id=name, formats=tuple(OutputFormat), deadline_ms=now_ms + 3_600_000
    )
    key = SubmissionKey(1, len(state.requests))
    ref = asked.ref(0)
    done = job(JobState.COLLECTING, ref=ref, request=asked, submission=key, submitted_ms=now_ms)
    state.requests[origin], state.by_id[asked.key.compact] = asked, origin
    state.progress[origin] = RequestProgress(1, (0,))
    state.submissions[key] = submission(SubmissionState.RUNNING, key=key, jobs=(ref,), submitted_ms=now_ms)
    state.jobs[ref] = done
    return done


async def run(origin: str, names: list[str]) -> dict[str, object]:
    """Let all files be fetched at once, as far as the defaults allow."""
    fetch, in_flight = FetchSettings(), LimitSettings().fetches_in_flight
    guard = FetchGuard(
        plain_http_hosts=("127.0.0.1",),
        max_compressed_bytes=fetch.max_compressed_bytes,
        max_decoded_bytes=fetch.max_decoded_bytes,
    )
    clock, spawn, ends = SystemClock(), Spawner(), Ends(len(names))
    async with DashScope(DashScopeConfig(origin + "/api/v1", SecretStr("sk-test")), guard) as provider:
        memory = FetchMemory(MemoryLimits(fetch.memory_bytes, fetch.max_decoded_bytes, in_flight))
        holds = ResultHolds(clock, lambda _model, _host, _word: None)
        breaker = StageBreaker(clock, lambda _stage, _is_stopped: None)
        stage = CollectStage(CollectDeps(provider, spawn, memory, holds, in_flight, breaker), clock)

        def dispatch(_runner: ShardRunner, step: Step) -> None:
            raise AssertionError(f"nothing is left to be done, least of all {step}")

        deps = RunnerDeps(clock, Rules(), ends, dispatch, breaker, Backlog())
        runner = ShardRunner(Shard(0), Dropping(), 1, deps)
        jobs = [add_finished(runner.state, name) for name in names]
        spawn(runner.run_until_closed(), name="shard")
        spawn(stage.run(lambda: None), name="stage")
        for each in jobs:
            url = f"{origin}/{each.request.request_id}"
            stage.queue(ResultFile(runner, each.ref, url), clock.now_ms())
        await ends.all_over.wait()
        await spawn.end()
    return {"ends": ends.ends, "peak_bytes": peak_bytes()}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(sys.argv[1], sys.argv[2:]))))
