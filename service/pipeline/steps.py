"""Steps: hand what a job wants done to the stage that does it."""

from dataclasses import dataclass

from service.core.events import CancelTask, Fetch, QueueSubmit, Reconcile, Step, Watch
from service.pipeline.collect import CollectStage, Errand
from service.pipeline.poll import PollStage
from service.pipeline.publish import OwnedShard
from service.pipeline.reconcile import ReconcileStage
from service.pipeline.submit import SubmitStage
from service.pipeline.vocabulary import VocabularyStage


@dataclass(slots=True)
class Steps:
    """The stages behind the steps."""

    submit: SubmitStage
    poll: PollStage
    collect: CollectStage
    reconcile: ReconcileStage
    vocabulary: VocabularyStage

    def carry_out(self, shard: OwnedShard, step: Step) -> None:
        """Queue the step at its stage; the stage drops it if the shard has closed meanwhile."""
        match step:
            case QueueSubmit(key, due_ms):
                self.submit.queue(shard, key, due_ms)
            case Reconcile(key, due_ms, settled_ms):
                self.reconcile.queue(shard, key, due_ms, settled_ms)
            case Watch(key, task_id, due_ms):
                self.poll.watch(shard, key, task_id, due_ms)
            case Fetch(key, url, due_ms):
                self.collect.queue(Errand(shard, key, url), due_ms)
            case CancelTask(task_id):
                self.poll.cancel(task_id)
