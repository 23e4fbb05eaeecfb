"""Ask the Kubernetes API server whether the StatefulSet of this pod will start the pod again.

It may not be able to say: then the pod counts as one that returns, and its partitions wait for it.
"""

import asyncio
import re
import ssl
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path

import httpx

from service.contract.untrusted_json import parse_json
from service.frozen import dataclass
from service.read_aside import read_aside
from service.tls import allow_old_extensions

ASK_SECONDS = 2.0
"""Bound of the question; it is asked while the process drains."""
_POD = re.compile(
    r"(?P<namespace>[a-z0-9-]{1,63})\.(?P<set>[a-z0-9.-]{1,253})-(?P<ordinal>[0-9]{1,9})", re.ASCII
)


class Unclear(Exception):
    """Nobody says whether the pod returns; the message says why."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of a StatefulSet."""

    namespace: str
    stateful_set: str
    ordinal: int

    @classmethod
    def of(cls, instance_id: str | None) -> "Pod":
        """The pod that a group instance id `NAMESPACE.NAME-ORDINAL` names; raises `Unclear`."""
        found = _POD.fullmatch(instance_id or "")
        if found is None:
            raise Unclear("SCRIBE_KAFKA__GROUP_INSTANCE_ID is not NAMESPACE.POD of a StatefulSet's pod")
        return cls(found["namespace"], found["set"], int(found["ordinal"]))

    @property
    def path(self) -> str:
        """Where the API server has its StatefulSet."""
        return f"/apis/apps/v1/namespaces/{self.namespace}/statefulsets/{self.stateful_set}"


async def is_removed(pod: Pod, service_account: Path, environ: Mapping[str, str]) -> bool:
    """Whether the pod is gone for good; raises `Unclear`."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise Unclear("KUBERNETES_SERVICE_HOST is not set: this process runs in no pod")
    origin = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    try:
        async with asyncio.timeout(ASK_SECONDS):
            trust = await read_aside(partial(_trust, service_account / "ca.crt"))
            token = await read_aside(partial((service_account / "token").read_text, "ascii"))
            async with httpx.AsyncClient(verify=trust, trust_env=False) as client:
                headers = {"Authorization": f"Bearer {token.strip()}", "Accept": "application/json"}
                answer = await client.get(origin + pod.path, headers=headers)
        return removal_in(pod, answer.status_code, parse_json(answer.content))
    except TimeoutError:
        raise Unclear(f"the Kubernetes API server does not answer within {ASK_SECONDS:g} s") from None
    except OSError as error:
        raise Unclear(
            f"no token or CA can be read in {service_account} ({error.strerror or 'no PEM file'})"
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unclear(f"the Kubernetes API server cannot be asked ({type(error).__name__})") from None
    except ValueError:
        # From a token that is none, or an answer that is not JSON: neither may stand in the log.
        raise Unclear("the token is none, or what answers is no Kubernetes API server") from None


def removal_in(pod: Pod, status: int, answer: object) -> bool:
    """What the API server's answer says; raises `Unclear`."""
    match status, answer:
        case HTTPStatus.OK, {"kind": "StatefulSet", "metadata": {"deletionTimestamp": str()}}:
            return True
        case HTTPStatus.OK, {"kind": "StatefulSet", "spec": {"replicas": int(replicas), **spec}}:
            first = _first_ordinal(spec)
            return not first <= pod.ordinal < first + replicas
        case HTTPStatus.NOT_FOUND, {
            "kind": "Status",
            "reason": "NotFound",
            "details": {"kind": "statefulsets", "name": pod.stateful_set},
        }:
            return True
        case ((HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN), _):
            raise Unclear(f"the service account may not get the StatefulSet {pod.stateful_set}")
        case _:
            raise Unclear(f"the Kubernetes API server answers {status}, and nothing about {pod.stateful_set}")


def _first_ordinal(spec: object) -> int:
    match spec:
        case {"ordinals": {"start": int(start)}}:
            return start
        case _:
            return 0


def _trust(file: Path) -> ssl.SSLContext:
    """The API server's CA alone."""
    context = ssl.create_default_context(cafile=file)
    allow_old_extensions(context)
    return context
