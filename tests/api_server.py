"""A Kubernetes API server that gives one answer, over real HTTPS, to pods with a mounted service account."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.certificates import authority

TOKEN = "token-of-the-pod"


def stateful_set_of(replicas: int, *, first: int | None = None, **metadata: str) -> dict[str, Any]:
    ordinals = {} if first is None else {"ordinals": {"start": first}}
    return {
        "kind": "StatefulSet",
        "apiVersion": "apps/v1",
        "metadata": {"name": "scribe", **metadata},
        "spec": {"replicas": replicas, **ordinals},
    }


@dataclass
class ApiServer:
    """An API server that gives one answer; `asked` is each path with its authorization."""

    folder: Path
    port: int = 0
    status: int = 200
    body: bytes = b"{}"
    hangs: threading.Event | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def says(self, status: int, answer: object) -> None:
        self.status, self.body = status, json.dumps(answer).encode()

    @property
    def environ(self) -> dict[str, str]:
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.port)}


@contextmanager
def api_server(folder: Path) -> Iterator[ApiServer]:
    """The API server, and a service account in `folder` that fits it."""
    folder.mkdir()
    (folder / "token").write_text(f"{TOKEN}\n")
    server = ApiServer(folder)
    with _serving(server, authority(folder / "ca.crt").key_store(folder / "server.pem")):
        yield server


@contextmanager
def _serving(api: ApiServer, key_store: Path) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            api.asked.append((self.path, self.headers["Authorization"]))
            if api.hangs is not None:
                api.hangs.wait(30)
            self.send_response(api.status)
            self.send_header("Content-Length", str(len(api.body)))
            self.end_headers()
            self.wfile.write(api.body)

        def log_message(self, *_said: object) -> None:
            return

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key_store)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        api.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            if api.hangs is not None:
                api.hangs.set()
            server.shutdown()
            thread.join()
