"""The volumes of a pod as folders: files that change together when their object does, as a kubelet's do."""

import os
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.cluster.api import Document
from sandbox.cluster.node.objects import TOKEN_SECONDS, ConfigError, PodObjects

_DATA = "..data"
_FILE_MODE = 0o644


@dataclass(frozen=True)
class File:
    """One file of a volume."""

    path: str
    content: bytes
    mode: int


@dataclass
class Volumes:
    """The folders of one pod's volumes, below `folder`, made when they are first refreshed."""

    folder: Path
    objects: PodObjects
    _tokens: dict[str, File] = field(default_factory=dict)

    async def refresh(self) -> None:
        """Write what has changed. Raises ConfigError where an object is missing."""
        for volume in self.objects.pod["spec"].get("volumes", []):
            target = self.folder / volume["name"]
            if "emptyDir" in volume:
                self._make_empty(target)
            else:
                write_files(target, await self._files(volume), self._group())

    def source(self, mount: Document) -> Path:
        """The folder or file that a volume mount of a container shows."""
        folder = self.folder / str(mount["name"])
        return (folder / mount["subPath"]).resolve() if mount.get("subPath") else folder

    def is_writable(self, mount: Document) -> bool:
        volume = next(each for each in self.objects.pod["spec"]["volumes"] if each["name"] == mount["name"])
        return "emptyDir" in volume and not mount.get("readOnly")

    def _group(self) -> int | None:
        group: int | None = self.objects.pod["spec"].get("securityContext", {}).get("fsGroup")
        return group

    def _make_empty(self, target: Path) -> None:
        if target.exists():
            return
        target.mkdir(parents=True)
        group = self._group()
        if group is not None:
            os.chown(target, -1, group)
        target.chmod(0o777 if group is None else 0o2775)

    async def _files(self, volume: Document) -> list[File]:
        if "secret" in volume:
            source = volume["secret"]
            return await self._keys("secrets", {**source, "name": source["secretName"]}, _mode(source))
        if "configMap" in volume:
            return await self._keys("configmaps", volume["configMap"], _mode(volume["configMap"]))
        if "downwardAPI" in volume:
            return self._fields(volume["downwardAPI"], _mode(volume["downwardAPI"]))
        if "projected" in volume:
            return await self._projected(volume["projected"])
        raise ConfigError(f"this node does not know the kind of volume {volume['name']}")

    async def _projected(self, projected: Document) -> list[File]:
        mode, found = _mode(projected), []
        for source in projected["sources"]:
            if "secret" in source:
                found += await self._keys("secrets", source["secret"], mode)
            elif "configMap" in source:
                found += await self._keys("configmaps", source["configMap"], mode)
            elif "downwardAPI" in source:
                found += self._fields(source["downwardAPI"], mode)
            elif "serviceAccountToken" in source:
                found.append(await self._token(source["serviceAccountToken"], mode))
            else:
                raise ConfigError(f"this node does not know the projected source {', '.join(source)}")
        return found

    async def _keys(self, kind: str, source: Document, mode: int) -> list[File]:
        is_optional = bool(source.get("optional"))
        data = await self.objects.data(kind, source["name"], is_optional=is_optional)
        if not source.get("items"):
            return [File(key, content, mode) for key, content in data.items()]
        missing = [item["key"] for item in source["items"] if item["key"] not in data]
        if missing and not is_optional:
            raise ConfigError(f"{kind} {source['name']} has no key {missing[0]}")
        return [
            File(item["path"], data[item["key"]], item.get("mode", mode))
            for item in source["items"]
            if item["key"] in data
        ]

    def _fields(self, source: Document, mode: int) -> list[File]:
        return [
            File(item["path"], self.objects.field(item["fieldRef"]["fieldPath"]).encode(), mode)
            for item in source.get("items", [])
        ]

    async def _token(self, source: Document, mode: int) -> File:
        """Made once: no pod of a test lives longer than its token, which a kubelet would replace."""
        if source["path"] not in self._tokens:
            seconds = source.get("expirationSeconds", TOKEN_SECONDS)
            token = await self.objects.token(source.get("audience"), seconds)
            self._tokens[source["path"]] = File(source["path"], token.encode(), mode)
        return self._tokens[source["path"]]


def _mode(source: Document) -> int:
    return int(source.get("defaultMode", _FILE_MODE))


def write_files(target: Path, files: Iterable[File], group: int | None) -> None:
    """Make the folder show exactly these files, all at one moment; nothing is done if it does already.

    Each name is a link through `..data` to a folder that is never changed: a reader sees the old content of
    all files or the new one.
    """
    wanted = sorted(files, key=lambda file: file.path)
    if (target / _DATA).exists() and _written(target / _DATA) == {file.path: file.content for file in wanted}:
        return
    target.mkdir(parents=True, exist_ok=True)
    version = target / f"..{secrets.token_hex(8)}"
    version.mkdir()
    for file in wanted:
        _write(version / file.path, file, group)
    old = (target / _DATA).resolve() if (target / _DATA).exists() else None
    link = target / f"{_DATA}_new"
    link.symlink_to(version.name)
    link.rename(target / _DATA)
    names = {file.path.split("/", 1)[0] for file in wanted}
    for name in names:
        if not (target / name).is_symlink():
            (target / name).symlink_to(f"{_DATA}/{name}")
    for path in target.iterdir():
        if not path.name.startswith("..") and path.name not in names:
            path.unlink()
    if old is not None:
        shutil.rmtree(old)


def _written(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _write(path: Path, file: File, group: int | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.content)
    if group is not None:
        os.chown(path, -1, group)
    path.chmod(file.mode if group is None else file.mode | 0o440)
