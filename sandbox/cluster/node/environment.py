"""The environment of a container, in the order and with the expansions of the kubelet."""

import re
from collections.abc import Mapping

from sandbox.cluster.api import Document
from sandbox.cluster.node.objects import ConfigError, PodObjects

_REFERENCE = re.compile(r"\$(?:(\$)|\(([^()$]*)\))")


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` becomes its value if there is one, and stays if not; `$$` is a dollar sign."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] else variables.get(found[2], found[0])

    return _REFERENCE.sub(value, text)


async def environment(container: Document, objects: PodObjects, given: Mapping[str, str]) -> dict[str, str]:
    """All variables: those of the node, of `envFrom`, then of `env`, each of which may name earlier ones."""
    found = dict(given)
    for source in container.get("envFrom", []):
        kind, reference = (
            ("secrets", source["secretRef"])
            if "secretRef" in source
            else ("configmaps", source["configMapRef"])
        )
        data = await objects.data(kind, reference["name"], is_optional=bool(reference.get("optional")))
        found.update({source.get("prefix", "") + key: value.decode() for key, value in data.items()})
    for entry in container.get("env", []):
        value = await _value(entry, found, objects)
        if value is not None:
            found[entry["name"]] = value
    return found


async def _value(entry: Document, earlier: Mapping[str, str], objects: PodObjects) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return expanded(entry.get("value", ""), earlier)
    if "fieldRef" in source:
        return objects.field(source["fieldRef"]["fieldPath"])
    for name, kind in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
        if name in source:
            data = await objects.key(kind, source[name])
            return None if data is None else data.decode()
    raise ConfigError(f"this node does not know the source of {entry['name']}: {', '.join(source)}")
