"""compose.yaml, as far as it can be checked without Docker: its shape, its settings, and what it mounts."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.kafka.jars import POM
from service import settings

ROOT = Path(__file__).parents[2]
FILE = ROOT / "compose.yaml"
LOADER = ROOT / "tools/compose"


@pytest.fixture(scope="module")
def written() -> Any:
    return yaml.safe_load(FILE.read_text("utf-8"))


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Docker Compose's own loader, built."""
    program = tmp_path_factory.mktemp("compose") / "load"
    subprocess.run(["go", "build", "-o", program, "."], cwd=LOADER, timeout=300, check=True)
    return program


@pytest.mark.needs_debian("go")
def test_docker_composes_own_loader_reads_it(loader: Path) -> None:
    told = subprocess.run([loader, FILE], capture_output=True, text=True, timeout=30, check=False)
    assert told.returncode == 0, told.stderr
    read = json.loads(told.stdout)
    assert set(read["services"]) == {"kafka", "topics", "scribe", "simulator", "prometheus", "grafana"}
    for service in read["services"].values():
        for mount in service.get("volumes", ()):
            assert Path(mount["source"]).is_dir(), mount
            assert mount["read_only"], mount


@pytest.mark.needs_debian("go")
def test_the_loader_refuses_a_file_with_a_mistake(loader: Path, tmp_path: Path) -> None:
    bad = tmp_path / "compose.yaml"
    bad.write_text(FILE.read_text("utf-8").replace("depends_on", "depends"), "utf-8")
    told = subprocess.run([loader, bad], capture_output=True, text=True, timeout=30, check=False)
    assert told.returncode == 1
    assert "depends" in told.stderr


def test_its_settings_are_known_and_fit_together(written: Any) -> None:
    for name in ("topics", "scribe"):
        assert settings.load(written["services"][name]["environment"]).topics.replication == 1


def test_its_kafka_is_the_one_that_the_tests_run(written: Any) -> None:
    version = written["services"]["kafka"]["image"].partition(":")[2]
    assert f"<kafka.version>{version}</kafka.version>" in POM.read_text("utf-8")


def test_a_stop_is_given_the_time_that_a_drain_may_take(written: Any) -> None:
    shutdown = settings.Settings.model_fields["shutdown"].default
    grace = int(written["services"]["scribe"]["stop_grace_period"].removesuffix("s"))
    assert grace > shutdown.answer_seconds + shutdown.grace_seconds


@pytest.mark.needs_debian("promtool")
def test_prometheus_accepts_its_part_with_the_rules_of_the_chart(written: Any, tmp_path: Path) -> None:
    config = tmp_path / "prometheus.yaml"
    text = written["configs"]["prometheus"]["content"]
    config.write_text(text.replace("/etc/prometheus/rules", str(ROOT / "helm/rules")), "utf-8")
    subprocess.run(["promtool", "check", "config", config], timeout=30, check=True)


def test_grafana_reads_the_dashboards_from_where_they_are_mounted(written: Any) -> None:
    [mount] = written["services"]["grafana"]["volumes"]
    source, target, _ = mount.split(":")
    provided = yaml.safe_load(written["configs"]["grafana-dashboards"]["content"])
    assert [each["options"]["path"] for each in provided["providers"]] == [target]
    assert list((ROOT / source).glob("*.json"))
