"""What the node of the test clusters takes from the kubelet: expansions, files, back-off, phases."""

from pathlib import Path
from typing import Any, cast

import pytest

from sandbox.cluster.api import Api
from sandbox.cluster.node.container import back_off_seconds
from sandbox.cluster.node.environment import environment, expanded
from sandbox.cluster.node.images import CodeImage, find_image
from sandbox.cluster.node.launch import Launch, Mount, identity_of, require_known
from sandbox.cluster.node.objects import ConfigError, PodObjects
from sandbox.cluster.node.pods import phase
from sandbox.cluster.node.probes import probe_of
from sandbox.cluster.node.volumes import File, write_files

POD: dict[str, Any] = {
    "metadata": {"name": "scribe-0", "namespace": "speech", "uid": "u-1", "labels": {"team": "a"}},
    "spec": {"serviceAccountName": "scribe"},
}


class Known(PodObjects):
    """Objects that need no API server."""

    async def data(self, kind: str, name: str, *, is_optional: bool = False) -> dict[str, bytes]:
        known = {("secrets", "s"): {"key": b"hidden"}, ("configmaps", "c"): {"A": b"1", "B": b"2"}}
        if (kind, name) not in known and not is_optional:
            raise ConfigError(f"{kind} {name}: 404")
        return known.get((kind, name), {})


@pytest.fixture
def objects() -> PodObjects:
    return Known(cast(Api, None), POD, "127.9.9.9", "node-1")


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)-$(B)", "1-$(B)"),
        ("$$(A)", "$(A)"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
        ("$$$(A)", "$1"),
    ],
)
def test_variables_are_expanded_as_the_api_documents_it(text: str, result: str) -> None:
    assert expanded(text, {"A": "1"}) == result


async def test_a_variable_may_name_those_before_it_and_overrides_those_of_env_from(
    objects: PodObjects,
) -> None:
    container = {
        "envFrom": [{"configMapRef": {"name": "c"}, "prefix": "X_"}, {"secretRef": {"name": "s"}}],
        "env": [
            {"name": "EARLY", "value": "$(POD_NAME)"},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "TEAM", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['team']"}}},
            {"name": "LATE", "value": "$(X_A).$(POD_NAME)"},
            {"name": "X_B", "value": "own"},
            {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
            {
                "name": "NONE",
                "valueFrom": {"secretKeyRef": {"name": "no", "key": "k", "optional": True}},
            },
        ],
    }
    assert await environment(container, objects, {"GIVEN": "g"}) == {
        "GIVEN": "g",
        "X_A": "1",
        "X_B": "own",
        "key": "hidden",
        "EARLY": "$(POD_NAME)",
        "POD_NAME": "scribe-0",
        "TEAM": "a",
        "LATE": "1.scribe-0",
        "SECRET": "hidden",
    }


@pytest.mark.parametrize(
    "source",
    [
        {"secretKeyRef": {"name": "s", "key": "missing"}},
        {"secretKeyRef": {"name": "missing", "key": "key"}},
        {"fieldRef": {"fieldPath": "status.unheard"}},
        {"resourceFieldRef": {"resource": "limits.cpu"}},
    ],
)
async def test_what_the_node_cannot_give_is_an_error_and_not_an_empty_value(
    objects: PodObjects, source: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError):
        await environment({"env": [{"name": "A", "valueFrom": source}]}, objects, {})


def test_files_of_a_volume_change_together_and_what_is_gone_disappears(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    write_files(volume, [File("a", b"1", 0o440), File("deep/b", b"2", 0o440)], None)
    first = (volume / "..data").resolve()
    write_files(volume, [File("a", b"1", 0o440), File("deep/b", b"2", 0o440)], None)
    assert (volume / "..data").resolve() == first, "nothing has changed, so nothing is written"
    assert (volume / "deep" / "b").read_bytes() == b"2"

    write_files(volume, [File("a", b"new", 0o440)], None)
    assert (volume / "a").read_bytes() == b"new"
    assert (volume / "a").stat().st_mode & 0o777 == 0o440
    assert not (volume / "deep").is_symlink()
    assert not first.exists()


def test_the_first_restart_comes_at_once_and_later_ones_ever_later() -> None:
    assert [back_off_seconds(failures) for failures in (1, 2, 3, 4, 7, 50)] == [0, 10, 20, 40, 300, 300]


@pytest.mark.parametrize(
    ("states", "policy", "expected"),
    [
        ([{"waiting": {}}], "Always", "Pending"),
        ([{"running": {}}, {"waiting": {}}], "Always", "Running"),
        ([{"terminated": {"exitCode": 1}}], "Always", "Running"),
        ([{"terminated": {"exitCode": 0}}], "Never", "Succeeded"),
        ([{"terminated": {"exitCode": 0}}, {"terminated": {"exitCode": 3}}], "Never", "Failed"),
        ([{"terminated": {"exitCode": 3}}], "OnFailure", "Running"),
    ],
)
def test_the_phase_follows_from_the_containers(states: Any, policy: str, expected: str) -> None:
    assert phase([{"state": state, "restartCount": 0} for state in states], policy) == expected


def test_a_container_that_crashed_and_waits_leaves_its_pod_running() -> None:
    assert phase([{"state": {"waiting": {}}, "restartCount": 1}], "Always") == "Running"


def test_a_probe_finds_its_port_by_name_and_an_unknown_name_is_an_error() -> None:
    container: dict[str, Any] = {
        "ports": [{"name": "http", "containerPort": 9000}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}},
        "livenessProbe": {"httpGet": {"path": "/livez", "port": "web"}},
    }
    probe = probe_of(container, "readinessProbe", "127.1.1.1")
    assert probe is not None
    assert (probe.url, probe.period_seconds, probe.failures) == ("http://127.1.1.1:9000/readyz", 10, 3)
    assert probe_of(container, "startupProbe", "127.1.1.1") is None
    with pytest.raises(ConfigError, match="no port named web"):
        probe_of(container, "livenessProbe", "127.1.1.1")


def test_an_image_that_the_node_has_not_is_not_found_and_arguments_follow_the_entry_point(
    tmp_path: Path,
) -> None:
    images = tmp_path / "images.json"
    images.write_text('{"scribe:1": "/code"}')
    assert find_image(images, "scribe:2") is None
    image = find_image(images, "docker.io/library/scribe:1@sha256:00")
    assert isinstance(image, CodeImage)
    assert image == CodeImage(Path("/code"))
    assert image.command(None, None)[1:] == ["-m", "service", "run"]
    assert image.command(None, ["doctor"])[1:] == ["-m", "service", "doctor"]
    assert image.command(["sh", "-c"], ["true"]) == ["sh", "-c", "true"]


def test_an_image_of_podman_runs_with_the_pods_security_contexts(tmp_path: Path) -> None:
    images = tmp_path / "images.json"
    images.write_text(
        '{"scribe:1": {"reference": "localhost/scribe:1", "podman": ["podman"], "run": ["-x"]}}'
    )
    image = find_image(images, "scribe:1")
    assert image is not None
    pod = {"spec": {"securityContext": {"runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 20}}}
    own = {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    launch = Launch(
        name="u-scribe",
        command=None,
        arguments=["doctor"],
        variables={"A": "1"},
        mounts=[Mount("/volumes/files", "/etc/scribe", is_read_only=True)],
        identity=identity_of(pod, {"securityContext": own}),
        folder=tmp_path,
    )
    command = " ".join(image.start(launch))
    assert command.startswith("podman run -x --rm --name u-scribe --network host")
    for option in (
        "--user 10001:10001",
        "--group-add 20",
        "--read-only ",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--volume /volumes/files:/etc/scribe:ro",
        "--env A=1",
    ):
        assert option in command
    assert command.endswith("localhost/scribe:1 doctor")


def test_a_pod_that_must_not_be_root_and_names_no_user_is_an_error() -> None:
    with pytest.raises(ConfigError, match="runAsNonRoot"):
        identity_of({"spec": {"securityContext": {"runAsNonRoot": True}}}, {})


@pytest.mark.parametrize(
    ("pod", "container"), [({"initContainers": [{}]}, {}), ({}, {"lifecycle": {"preStop": {}}})]
)
def test_what_the_node_would_leave_out_is_refused(pod: dict[str, Any], container: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="does not know"):
        require_known({"spec": pod}, container)
