"""Dispatch: hand a step to the stage that carries it out."""

from dataclasses import dataclass

from service.core.job.events import CancelTask, Fetch, Poll, QueueSubmit, Reconcile, Step
from service.pipeline.collect import CollectStage, ResultFile
from service.pipeline.guards.wait_reasons import CallsInFlight
from service.pipeline.hotwords.prepare import HotwordListStage
from service.pipeline.poll import PollStage
from service.pipeline.polling.list_sweep import ListSweepStage
from service.pipeline.reconcile import ReconcileStage
from service.pipeline.shard.shard_runner import ShardRunner
from service.pipeline.submit import SubmitStage


@dataclass(slots=True)
class Stages:
    """The stages behind the steps, and the one that tells the poll stage what to poll first."""

    submit: SubmitStage
    poll: PollStage
    sweep: ListSweepStage
    collect: CollectStage
    reconcile: ReconcileStage
    hotword_lists: HotwordListStage

    def calls(self) -> tuple[CallsInFlight, ...]:
        """The calls in flight, by kind."""
        return (*self.submit.calls(), self.poll.calls(), self.collect.calls())

    def dispatch(self, runner: ShardRunner, step: Step) -> None:
        """Queue the step at its stage.

        The stage drops it if the shard has closed meanwhile.
        """
        match step:
            case QueueSubmit(key, due_ms):
                self.submit.queue(runner, key, due_ms)
            case Reconcile(key, due_ms, settled_ms):
                self.reconcile.queue(runner, key, due_ms, settled_ms)
            case Poll(key, task_id, due_ms, is_last):
                self.poll.queue(runner, key, task_id, due_ms, is_last=is_last)
            case Fetch(ref, url, due_ms):
                self.collect.queue(ResultFile(runner, ref, url), due_ms)
            case CancelTask(task_id):
                self.poll.cancel(task_id)
