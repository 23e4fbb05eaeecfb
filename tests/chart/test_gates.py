"""What other programs find in the chart; each exception has its reason."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.unit.chart.rendering import Manifest, manifests, values_of
from tools.chart.lint import CHART, HELM
from tools.chart.programs import STRIMZI, checkov, go_programs, strimzi_crds

pytestmark = pytest.mark.needs_go
RATED = ("networkpolicy", "monitoring", "hpa", "keda")
"""Values under which every kind of object appears."""
KUBE_SCORE = {
    "container-image-pull-policy": "A tag never moves, and a pod should start while the registry is away.",
    "statefulset-has-host-podantiaffinity": "topologySpreadConstraints spread the pods, also beyond two.",
}
CHECKOV = {
    "CKV_K8S_8": "The pod of `helm test` ends by itself: a probe would have nothing to ask.",
    "CKV_K8S_9": "The same.",
    "CKV_K8S_11": "A processor limit makes heartbeats late; a process uses one core at most.",
    "CKV_K8S_15": "See container-image-pull-policy.",
    "CKV_K8S_38": "A worker that stops asks whether it is removed; `leaveGroup` turns it off.",
    "CKV_K8S_43": "`image.digest` pins; a default digest would be of an image that is not published.",
}


def rendered(name: str) -> str:
    """The objects of these values, with a network policy, as one text."""
    values = {**values_of(name), "networkPolicy": {"enabled": True}}
    return yaml.safe_dump_all(manifests(values))


def run(*command: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, **environment}
    return subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=120, check=False, env=settings
    )


@pytest.mark.parametrize("name", RATED)
def test_kube_score_finds_nothing_else(name: str) -> None:
    ignored = [f"--ignore-test={each}" for each in KUBE_SCORE]
    program = str(go_programs() / "kube-score")
    told = run(
        *(
            program,
            "score",
            "-",
            "--output-format=ci",
            "--exit-one-on-warning",
            "--ignore-container-cpu-limit",
        ),
        *ignored,
        text=rendered(name),
    )
    found = [line for line in told.stdout.splitlines() if line.startswith(("[CRITICAL]", "[WARNING]"))]
    assert (told.returncode, found) == (0, []), told.stderr
    assert "[OK]" in told.stdout


def test_checkov_finds_nothing_else(tmp_path: Path) -> None:
    for name in RATED:
        (tmp_path / f"{name}.yaml").write_text(rendered(name), "utf-8")
    command = [
        sys.executable,
        "-m",
        "checkov.main",
        "--directory",
        str(tmp_path),
        "--framework",
        "kubernetes",
    ]
    command += [
        "--skip-download",
        "--compact",
        "--quiet",
        "--output",
        "json",
        "--skip-check",
        ",".join(CHECKOV),
    ]
    told = run(*command, PYTHONPATH=str(checkov()), HOME=str(tmp_path), TMPDIR=str(tmp_path))
    report = json.loads(told.stdout)
    failed = [f"{each['check_id']} {each['resource']}" for each in report["results"]["failed_checks"]]
    assert failed == []
    assert report["summary"]["passed"] > 100


def test_each_exception_is_still_needed() -> None:
    program = str(go_programs() / "kube-score")
    told = run(program, "score", "-", "--output-format=json", text=rendered("hpa"))
    found = {
        check["check"]["id"]
        for each in json.loads(told.stdout)
        for check in each["checks"]
        if check["grade"] < 10
    }
    assert found >= KUBE_SCORE.keys()


def test_the_suites_of_helm_unittest_pass() -> None:
    told = run(str(go_programs() / "helm-unittest"), CHART)
    assert told.returncode == 0, told.stdout
    assert "2 passed, 2 total" in told.stdout


def test_the_readme_of_the_chart_is_what_helm_docs_writes(tmp_path: Path) -> None:
    for name in ("Chart.yaml", "values.yaml", "README.md.gotmpl"):
        shutil.copy(HELM / name, tmp_path)
    command = [str(go_programs() / "helm-docs"), "--sort-values-order=file", "--log-level=warning"]
    told = run(*command, f"--chart-search-root={tmp_path}")
    assert told.returncode == 0, told.stderr
    written = (tmp_path / "README.md").read_text("utf-8")
    assert (HELM / "README.md").read_text("utf-8") == written, "run: make docs"


def examples(name: str) -> list[Manifest]:
    return list(yaml.safe_load_all((HELM / "examples" / name).read_text("utf-8")))


def closed(schema: Manifest) -> Manifest:
    """The schema of a definition, where an unknown field is an error, as in strict validation."""
    inner = {name: closed(value) if isinstance(value, dict) else value for name, value in schema.items()}
    if "properties" in inner and "x-kubernetes-preserve-unknown-fields" not in inner:
        inner["additionalProperties"] = False
    return inner


@pytest.mark.parametrize("file", ["strimzi-topics.yaml", "strimzi-user.yaml"])
def test_the_examples_for_strimzi_fit_its_definitions(file: str) -> None:
    import jsonschema  # noqa: PLC0415 - only here

    definitions = {}
    for name in STRIMZI.values():
        definition = yaml.safe_load((strimzi_crds() / name).read_text("utf-8"))
        for version in definition["spec"]["versions"]:
            key = (f"kafka.strimzi.io/{version['name']}", definition["spec"]["names"]["kind"])
            definitions[key] = closed(version["schema"]["openAPIV3Schema"])
    for each in examples(file):
        schema = definitions[each["apiVersion"], each["kind"]]
        jsonschema.validate({name: each[name] for name in ("apiVersion", "kind", "spec")}, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"spec": {**each["spec"], "replicass": 1}}, schema)
