"""What a pod learns about its return from the Kubernetes API server, over real HTTPS."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from service.app import stateful_set
from service.app.leaving import leaves_for_good
from service.app.stateful_set import Pod, Unclear, is_removed
from service.settings import load
from tests.api_server import TOKEN, ApiServer, api_server, stateful_set_of
from tests.certificates import authority

POD = Pod("media", "scribe", 2)
NOT_FOUND = {
    "kind": "Status",
    "status": "Failure",
    "reason": "NotFound",
    "details": {"name": "scribe", "group": "apps", "kind": "statefulsets"},
    "code": 404,
}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """The API server, and a mounted service account that fits it; a busy machine is waited for."""
    monkeypatch.setattr(stateful_set, "ASK_SECONDS", 30.0)
    with api_server(tmp_path / "account") as server:
        yield server


@pytest.mark.parametrize(
    ("status", "answer", "removed"),
    [
        (200, stateful_set_of(3), False),
        (200, stateful_set_of(2), True),
        (200, stateful_set_of(0), True),
        (200, stateful_set_of(2, first=1), False),
        (200, stateful_set_of(2, first=0), True),
        (200, stateful_set_of(5, first=3), True),
        (200, stateful_set_of(3, deletionTimestamp="2026-11-30T20:00:00Z"), True),
        (404, NOT_FOUND, True),
    ],
)
async def test_a_pod_is_removed_when_its_set_no_longer_wants_it(
    api: ApiServer, status: int, answer: object, removed: bool
) -> None:
    api.says(status, answer)
    assert await is_removed(POD, api.folder, api.environ) is removed
    assert api.asked == [("/apis/apps/v1/namespaces/media/statefulsets/scribe", f"Bearer {TOKEN}")]


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (403, {"kind": "Status", "reason": "Forbidden"}, "may not get the StatefulSet scribe"),
        (401, {"kind": "Status", "reason": "Unauthorized"}, "may not get the StatefulSet scribe"),
        (404, {"kind": "Status", "reason": "NotFound"}, "answers 404"),
        (404, {**NOT_FOUND, "details": {"kind": "namespaces", "name": "scribe"}}, "answers 404"),
        (500, {"kind": "Status"}, "answers 500"),
        (302, {}, "answers 302"),
        (200, {"kind": "StatefulSet", "spec": {}}, "answers 200"),
        (200, {"kind": "Pod", "spec": {"replicas": 0}}, "answers 200"),
        (200, [], "answers 200"),
    ],
)
async def test_any_other_answer_leaves_it_unclear(
    api: ApiServer, status: int, answer: object, words: str
) -> None:
    api.says(status, answer)
    with pytest.raises(Unclear, match=words):
        await is_removed(POD, api.folder, api.environ)


def _no_json(api: ApiServer) -> None:
    api.body = b"<html>"


def _deep(api: ApiServer) -> None:
    api.body = b"[" * 100_000


def _hanging(api: ApiServer) -> None:
    api.hangs = threading.Event()


def _no_token(api: ApiServer) -> None:
    (api.folder / "token").unlink()


def _odd_token(api: ApiServer) -> None:
    (api.folder / "token").write_text("\u00e4 secret")


def _no_authority(api: ApiServer) -> None:
    (api.folder / "ca.crt").write_text("no certificate")


def _other_authority(api: ApiServer) -> None:
    authority(api.folder / "ca.crt")


def _nobody(api: ApiServer) -> None:
    api.port = 1


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_no_json, "no Kubernetes API server"),
        (_deep, "no Kubernetes API server"),
        (_hanging, "does not answer within"),
        (_no_token, "No such file"),
        (_odd_token, "the token is none"),
        (_no_authority, "no token or CA can be read"),
        (_other_authority, "cannot be asked"),
        (_nobody, "cannot be asked"),
    ],
)
async def test_without_an_answer_it_is_unclear_and_no_token_is_shown(
    api: ApiServer, spoil: Callable[[ApiServer], None], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if spoil is _hanging:
        monkeypatch.setattr(stateful_set, "ASK_SECONDS", 0.5)
    spoil(api)
    with pytest.raises(Unclear, match=words) as found:
        await is_removed(POD, api.folder, api.environ)
    assert "secret" not in str(found.value)
    assert TOKEN not in str(found.value)
    if spoil is _other_authority:
        assert api.asked == []


async def test_a_port_that_is_none_is_unclear(api: ApiServer) -> None:
    with pytest.raises(Unclear, match="cannot be asked"):
        await is_removed(POD, api.folder, {**api.environ, "KUBERNETES_SERVICE_PORT": "tcp://10.0.0.1:443"})


async def test_a_token_on_a_disk_that_hangs_is_unclear_and_holds_up_nothing(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stateful_set, "ASK_SECONDS", 0.5)
    token = api.folder / "token"
    token.unlink()
    os.mkfifo(token)
    try:
        with pytest.raises(Unclear, match="does not answer within"):
            await is_removed(POD, api.folder, api.environ)
        # The loop's own threads would hold up the end of the process for as long as the read lasts.
        assert [each.daemon for each in threading.enumerate() if each.name == "read-aside"] == [True]
    finally:
        token.write_text("")


@pytest.mark.parametrize(
    "name", [None, "scribe-2", "media.scribe", "media.scribe-x", "me/dia.scribe-2", "media.scribe-2/scale-1"]
)
async def test_a_name_that_is_no_pods_is_unclear(name: str | None) -> None:
    with pytest.raises(Unclear, match="SCRIBE_KAFKA__GROUP_INSTANCE_ID"):
        Pod.of(name)


def test_a_pods_name_may_have_dashes_and_dots() -> None:
    assert Pod.of("media.scribe-of.eu-1-12") == Pod("media", "scribe-of.eu-1", 12)


@pytest.mark.parametrize(
    ("setting", "replicas", "leaves", "said"),
    [
        ("never", 0, False, []),
        ("always", 9, True, []),
        ("when_removed", 2, True, ["removed"]),
        ("when_removed", 3, False, ["returns"]),
        ("when_removed", None, False, ["unclear"]),
    ],
)
async def test_the_setting_decides_whom_is_asked(
    api: ApiServer, setting: str, replicas: int | None, leaves: bool, said: list[str]
) -> None:
    api.says(200, {} if replicas is None else stateful_set_of(replicas))
    settings = load(
        {
            "SCRIBE_SHUTDOWN__LEAVE_GROUP": setting,
            "SCRIBE_SHUTDOWN__SERVICE_ACCOUNT_DIR": str(api.folder),
            "SCRIBE_KAFKA__GROUP_INSTANCE_ID": "media.scribe-2",
        }
    )
    with structlog.testing.capture_logs() as lines:
        assert await leaves_for_good(settings, api.environ) is leaves
    assert [line["change"] for line in lines] == said
    assert bool(api.asked) is (setting == "when_removed")


async def test_outside_kubernetes_it_is_unclear(tmp_path: Path) -> None:
    with pytest.raises(Unclear, match="runs in no pod"):
        await is_removed(POD, tmp_path, {})
