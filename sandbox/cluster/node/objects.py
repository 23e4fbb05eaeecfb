"""What a pod refers to: Secrets and ConfigMaps, its own fields, and tokens, read from the API server."""

import base64
import re
from dataclasses import dataclass
from typing import Any

from sandbox.cluster.api import Api, ApiError, Document

TOKEN_SECONDS = 3607
"""How long a token of a service account is valid, as the kubelet asks for it."""

_BY_KEY = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class ConfigError(Exception):
    """A container cannot be made as its pod wants it; the text is the reason that the pod's status shows."""


@dataclass(frozen=True)
class PodObjects:
    """Reads for one pod, in its namespace."""

    api: Api
    pod: Document
    address: str
    node: str

    @property
    def namespace(self) -> str:
        return str(self.pod["metadata"]["namespace"])

    async def data(self, kind: str, name: str, *, is_optional: bool = False) -> dict[str, bytes]:
        """All keys of a `secrets` or `configmaps` object; raises ConfigError where it is missing."""
        try:
            found = await self.api.get(f"/api/v1/namespaces/{self.namespace}/{kind}/{name}")
        except ApiError as error:
            if error.code == 404 and is_optional:
                return {}
            # 403 right after the pod came: the authorizer has not seen yet that the pod refers to it.
            raise ConfigError(f"{kind} {name}: {error}") from error
        if kind == "secrets":
            return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
        binary = {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}
        return {**binary, **{key: value.encode() for key, value in (found.get("data") or {}).items()}}

    async def key(self, kind: str, reference: Document) -> bytes | None:
        """One key; None where it is optional and missing."""
        is_optional = bool(reference.get("optional"))
        data = await self.data(kind, reference["name"], is_optional=is_optional)
        if reference["key"] in data:
            return data[reference["key"]]
        if is_optional:
            return None
        raise ConfigError(f"couldn't find key {reference['key']} in {kind} {reference['name']}")

    def field(self, path: str) -> str:
        """What a `fieldRef` names."""
        metadata, spec = self.pod["metadata"], self.pod["spec"]
        named = _BY_KEY.fullmatch(path)
        if named:
            return str(metadata.get(named[1], {}).get(named[2], ""))
        fields = {
            "metadata.name": metadata["name"],
            "metadata.namespace": metadata["namespace"],
            "metadata.uid": metadata["uid"],
            "spec.nodeName": self.node,
            "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
            "status.hostIP": "127.0.0.1",
            "status.podIP": self.address,
            "status.podIPs": self.address,
        }
        if path not in fields:
            raise ConfigError(f"this node does not know the field {path}")
        return str(fields[path])

    async def token(self, audience: str | None, seconds: int) -> str:
        """A new token of the pod's service account, which ends with the pod."""
        metadata = self.pod["metadata"]
        account = self.pod["spec"].get("serviceAccountName", "default")
        bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
        spec: dict[str, Any] = {"expirationSeconds": seconds, "boundObjectRef": bound}
        if audience:
            spec["audiences"] = [audience]
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        try:
            return str((await self.api.post(path, body))["status"]["token"])
        except ApiError as error:
            raise ConfigError(f"token of service account {account}: {error}") from error
