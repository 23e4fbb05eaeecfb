"""What a container needs when it starts, apart from what its image is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.cluster.api import Document
from sandbox.cluster.node.objects import ConfigError


@dataclass(frozen=True)
class Mount:
    """A folder or file of a volume, and where the container sees it."""

    source: str
    target: str
    is_read_only: bool


@dataclass(frozen=True)
class Identity:
    """What its security contexts make of a container's process."""

    user: int
    group: int
    groups: Sequence[int]
    is_root_read_only: bool
    has_no_new_privileges: bool
    drops_capabilities: bool


@dataclass(frozen=True)
class Launch:
    """One start. `command` and `arguments` are None where the image's own are wanted."""

    name: str
    """Of the container, unlike any other's on this machine."""
    command: Sequence[str] | None
    arguments: Sequence[str] | None
    variables: Mapping[str, str]
    mounts: Sequence[Mount]
    identity: Identity
    folder: Path
    """For files that the start needs."""


_UNKNOWN_IN_PODS = ("initContainers", "shareProcessNamespace", "hostPID", "hostIPC")
_UNKNOWN_IN_CONTAINERS = ("lifecycle", "volumeDevices", "workingDir", "restartPolicy")


def require_known(pod: Document, container: Document) -> None:
    """Raises ConfigError for what this node would leave out, so that no test rests on it."""
    unknown = [name for name in _UNKNOWN_IN_PODS if pod["spec"].get(name)]
    unknown += [name for name in _UNKNOWN_IN_CONTAINERS if container.get(name)]
    if unknown:
        raise ConfigError(f"this node does not know {', '.join(unknown)}")


def identity_of(pod: Document, container: Document) -> Identity:
    """Raises ConfigError where the pod forbids the user that it names."""
    of_pod = pod["spec"].get("securityContext") or {}
    own = {**of_pod, **(container.get("securityContext") or {})}
    user = own.get("runAsUser", 0)
    if own.get("runAsNonRoot") and user == 0:
        raise ConfigError("container has runAsNonRoot and image will run as root")
    groups = [*of_pod.get("supplementalGroups", []), *([of_pod["fsGroup"]] if "fsGroup" in of_pod else [])]
    return Identity(
        user=user,
        group=own.get("runAsGroup", 0),
        groups=groups,
        is_root_read_only=bool(own.get("readOnlyRootFilesystem")),
        has_no_new_privileges=own.get("allowPrivilegeEscalation") is False,
        drops_capabilities="ALL" in own.get("capabilities", {}).get("drop", []),
    )
