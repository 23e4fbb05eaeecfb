"""What the build of the image is given of this machine: pip's configuration, which no layer keeps."""

from pathlib import Path

import pytest

from tools.image import build


def test_pips_index_and_authorities_are_handed_on_by_the_paths_of_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CERT", "/somewhere/ca.pem")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.test/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "/only/here")
    files = build.pip_files(tmp_path)
    assert files.keys() == {"/etc/pip.conf", "/run/secrets/pip-ca.pem"}
    assert files["/run/secrets/pip-ca.pem"] == Path("/somewhere/ca.pem")
    text = files["/etc/pip.conf"].read_text()
    assert "\ncert = /run/secrets/pip-ca.pem\n" in text
    assert "\nindex-url = https://index.test/simple\n" in text
    assert "/only/here" not in text


def test_another_choice_of_extras_is_another_image() -> None:
    source = build.Source("a" * 40 + "-dirty", 0, "1.0", "sha256:0", "c0ffee")
    names = {build.named(source), build.named(source, "otel"), build.named(source, "otel msk")}
    assert names == {
        "localhost/scribe:1.0-aaaaaaaaaaaa-c0ffee",
        "localhost/scribe:1.0-aaaaaaaaaaaa-c0ffee-otel",
        "localhost/scribe:1.0-aaaaaaaaaaaa-c0ffee-otel-msk",
    }
