"""Decide, while a stop drains, whether this member of the group leaves it for good."""

from collections.abc import Mapping

from service.app.stateful_set import Pod, Unclear, is_removed
from service.observability import log
from service.settings import Settings


async def leaves_for_good(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether a static member must leave: nobody will take its name up again soon.

    What nobody knows counts as a restart, whose partitions must not move.
    """
    shutdown = settings.shutdown
    if shutdown.leave_group != "when_removed":
        return shutdown.leave_group == "always"
    try:
        pod = Pod.of(settings.kafka.group_instance_id)
        removed = await is_removed(pod, shutdown.service_account_dir, environ)
    except Unclear as error:
        log.write(log.LEAVING, change="unclear", detail=str(error))
        return False
    log.write(log.LEAVING, change="removed" if removed else "returns")
    return removed
