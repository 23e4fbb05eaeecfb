"""Starts and stops a Kubernetes control plane and a node on loopback; nothing in it lasts."""

import dataclasses
import json
import os
import secrets
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox import child
from sandbox.child import ServerStartError
from sandbox.cluster.api import Access
from sandbox.cluster.node.settings import Settings
from sandbox.cluster.programs import Programs, fetch_programs

NODE = "node-1"
_READY_SECONDS = 180.0
_LOOK_SECONDS = 0.1
_ASK_SECONDS = 2.0
_GRACE_SECONDS = 10.0
_TRIES = 3
_CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Cluster:
    """A running cluster."""

    programs: Programs
    folder: Path
    access: Access
    kubeconfig: Path
    images_file: Path
    processes: Mapping[str, subprocess.Popen[bytes]]

    @property
    def logs(self) -> Path:
        """Where the logs of pods are: NAMESPACE.POD.UID.log."""
        return self.folder / "pods" / "logs"

    def has_image(self, reference: str, image: Path | Mapping[str, object]) -> None:
        """From now on the node has this image: a folder with the package `service`, or one of podman.

        The latter is what `PodmanImage` takes.
        """
        images = json.loads(self.images_file.read_text())
        new = self.images_file.with_suffix(".new")
        known = str(image) if isinstance(image, Path) else dict(image)
        new.write_text(json.dumps({**images, reference: known}))
        new.rename(self.images_file)

    def is_running(self) -> bool:
        return all(process.poll() is None for process in self.processes.values())

    def environment(self) -> dict[str, str]:
        """What helm and kubectl are told, beside nothing: their own folders, and where the cluster is."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.kubeconfig),
            "HELM_CACHE_HOME": str(self.folder / "helm" / "cache"),
            "HELM_CONFIG_HOME": str(self.folder / "helm" / "config"),
            "HELM_DATA_HOME": str(self.folder / "helm" / "data"),
        }


@contextmanager
def real_cluster(images: Mapping[str, Path]) -> Iterator[Cluster]:
    """A cluster that serves when the block is entered and is gone when it is left.

    `images` maps references to folders with code. Call it from a thread that outlives the block (see
    child.spawn). Raises ServerStartError.
    """
    programs = fetch_programs()
    with tempfile.TemporaryDirectory(prefix="scribe-cluster-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        plane, cluster = _started(programs, Path(folder), images)
        try:
            yield cluster
        finally:
            plane.stop()


def _started(programs: Programs, folder: Path, images: Mapping[str, Path]) -> tuple["_Plane", Cluster]:
    # A free port may be taken between the look and the start: a server then ends, and others are tried.
    for left in reversed(range(_TRIES)):
        plane = _Plane(programs, folder / f"try-{left}")
        try:
            return plane, plane.start(images)
        except BaseException as error:
            plane.stop()
            if left and isinstance(error, ServerStartError):
                continue
            raise
    raise AssertionError("the last try returns or raises")


class _Plane:
    def __init__(self, programs: Programs, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._etcd, self._peers, self._api, self._controllers, self._scheduler = child.free_ports(5)
        self._tokens = {"admin": secrets.token_hex(16), "node": secrets.token_hex(16)}

    def start(self, images: Mapping[str, Path]) -> Cluster:
        self._folder.mkdir(mode=0o755)
        self._write_secrets()
        self._start_etcd()
        self._start_api_server()
        self._await_api_server()
        kubeconfig = self._write_kubeconfig()
        self._start_controllers(kubeconfig)
        images_file = self._folder / "images.json"
        images_file.write_text(json.dumps({name: str(code) for name, code in images.items()}))
        self._start_node(images_file)
        self._await("/api/v1/namespaces/default/serviceaccounts/default", "kube-controller-manager")
        self._await(f"/api/v1/nodes/{NODE}", "node")
        access = Access(self._server, self._ca_file, self._tokens["admin"])
        return Cluster(self._programs, self._folder, access, kubeconfig, images_file, self._processes)

    def stop(self) -> None:
        """The node first, so that its pods are ended; then whoever would miss the others least."""
        for name in reversed(list(self._processes)):
            grace = _GRACE_SECONDS if name == "node" else 0.0
            child.stop(self._processes[name], grace_seconds=grace)

    @property
    def _server(self) -> str:
        return f"https://127.0.0.1:{self._api}"

    @property
    def _ca_file(self) -> Path:
        """The API server writes its authority below its own certificate."""
        return self._folder / "certificates" / "apiserver.crt"

    def _write_secrets(self) -> None:
        rows = (
            f'{self._tokens["admin"]},admin,admin,"system:masters"\n',
            f'{self._tokens["node"]},system:node:{NODE},{NODE},"system:nodes"\n',
        )
        self._private("tokens.csv").write_text("".join(rows))
        key = self._private("accounts.key")
        command = ["openssl", "genrsa", "-out", str(key), "2048"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.SubprocessError) as error:
            raise ServerStartError(f"openssl could not make a key: {error}") from error

    def _private(self, name: str) -> Path:
        path = self._folder / name
        path.touch(mode=0o600)
        return path

    def _start_etcd(self) -> None:
        clients, peers = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{self._peers}"
        self._spawn(
            "etcd",
            *("--data-dir", str(self._folder / "etcd"), "--unsafe-no-fsync", "--log-level=warn"),
            *(f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}"),
            *(f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}"),
            f"--initial-cluster=default={peers}",
        )

    def _start_api_server(self) -> None:
        key = self._folder / "accounts.key"
        self._spawn(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd}",
            *("--bind-address=127.0.0.1", f"--secure-port={self._api}", "--advertise-address=127.0.0.1"),
            *("--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.96.0.0/24"),
            f"--cert-dir={self._ca_file.parent}",
            *(f"--token-auth-file={self._folder / 'tokens.csv'}", "--authorization-mode=Node,RBAC"),
            *(f"--service-account-issuer={self._server}", f"--service-account-key-file={key}"),
            *(f"--service-account-signing-key-file={key}", "--profiling=false"),
        )

    def _start_controllers(self, kubeconfig: Path) -> None:
        common = (f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--bind-address=127.0.0.1")
        self._spawn(
            "kube-controller-manager",
            *(*common, f"--secure-port={self._controllers}", f"--cert-dir={self._folder / 'controllers'}"),
            *("--use-service-account-credentials=true", f"--root-ca-file={self._ca_file}"),
            f"--service-account-private-key-file={self._folder / 'accounts.key'}",
        )
        self._spawn(
            "kube-scheduler",
            *(*common, f"--secure-port={self._scheduler}", f"--cert-dir={self._folder / 'scheduler'}"),
        )

    def _start_node(self, images_file: Path) -> None:
        # Addresses that no other cluster of this machine has, in all likelihood: pods listen on fixed ports.
        subnet = f"127.{64 + secrets.randbelow(128)}.{secrets.randbelow(256)}.0/24"
        pods = self._folder / "pods"
        pods.mkdir(mode=0o755)
        settings = Settings(
            node=NODE,
            server=self._server,
            ca_file=str(self._ca_file),
            token=self._tokens["node"],
            folder=str(pods),
            images_file=str(images_file),
            subnet=subnet,
            given={
                "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                "KUBERNETES_SERVICE_PORT": str(self._api),
                "KUBERNETES_SERVICE_PORT_HTTPS": str(self._api),
                # All pods share the machine's network, so that each must listen on its own address.
                "SCRIBE_HTTP__HOST": "$(POD_ADDRESS)",
            },
        )
        path = self._private("node.json")
        path.write_text(json.dumps(dataclasses.asdict(settings)))
        command = [sys.executable, "-m", "sandbox.cluster.node.agent", str(path)]
        self._start("node", command, {"PATH": os.environ["PATH"], "PYTHONPATH": str(_CHECKOUT)})

    def _spawn(self, name: str, *arguments: str) -> None:
        self._start(name, [str(self._programs.control_plane), name, *arguments], {"PATH": os.environ["PATH"]})

    def _start(self, name: str, command: Sequence[str], variables: Mapping[str, str]) -> None:
        self._processes[name] = child.spawn(
            command, name=name, folder=self._folder, log_path=self._log(name), env=variables
        )

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _write_kubeconfig(self) -> Path:
        path = self._private("kubeconfig")
        cluster = {"server": self._server, "certificate-authority": str(self._ca_file)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": self._tokens["admin"]}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }
        path.write_text(json.dumps(document))
        return path

    def _await_api_server(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not self._ca_file.exists() and time.monotonic() < deadline:
            self._require_running("kube-apiserver")
            time.sleep(_LOOK_SECONDS)
        self._await("/readyz", "kube-apiserver")

    def _await(self, path: str, name: str) -> None:
        """Wait until the API server answers 200 there, which `name` brings about."""
        deadline = time.monotonic() + _READY_SECONDS
        while not self._is_served(path):
            self._require_running(name)
            if time.monotonic() > deadline:
                words = child.why_it_ended(self._log(name))
                raise ServerStartError(f"{name} is not ready after {_READY_SECONDS:.0f} s: {words}")
            time.sleep(_LOOK_SECONDS)

    def _is_served(self, path: str) -> bool:
        headers = {"Authorization": f"Bearer {self._tokens['admin']}"}
        request = urllib.request.Request(self._server + path, headers=headers)  # noqa: S310 - always https
        try:
            context = ssl.create_default_context(cafile=str(self._ca_file))
            with urllib.request.urlopen(request, timeout=_ASK_SECONDS, context=context):  # noqa: S310
                return True
        except (urllib.error.URLError, OSError, ssl.SSLError):
            return False

    def _require_running(self, name: str) -> None:
        for each in ("etcd", name):
            if self._processes[each].poll() is not None:
                raise ServerStartError(f"{each} ended: {child.why_it_ended(self._log(each))}")
