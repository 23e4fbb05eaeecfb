"""What the demo makes of its variables, before anything is started."""

from pathlib import Path

import pytest

from sandbox.demo.cost import estimate
from sandbox.demo.plan import DemoError, Plan, read_plan

KEY = {"DASHSCOPE_API_KEY": "sk-plan-canary"}
URLS = {"URLS": "https://a.example/1.wav?Signature=urlcanary 'https://a.example/2%20.wav'"}


def refused(environ: dict[str, str]) -> str:
    with pytest.raises(DemoError) as caught:
        read_plan(environ)
    assert caught.value.code == 2
    assert "canary" not in str(caught.value)
    return str(caught.value)


class TestFiles:
    def test_without_any_variable_the_bundled_recordings_go_to_the_simulator(self) -> None:
        plan = read_plan({"AUDIO": "", "URLS": " "})
        assert plan.names == ("austen-0880.wav", "austen-0890.wav", "austen-0920.wav")
        assert (plan.is_live, plan.provider_settings, plan.notes) == (False, None, ())

    def test_audio_is_split_as_a_shell_would(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for name in ("a b.wav", "c'd.mp3", "e.wav"):
            Path(name).touch()
        plan = read_plan({"AUDIO": """'a b.wav'  "c'd.mp3" e.wav"""})
        assert plan.names == ("a b.wav", "c'd.mp3", "e.wav")
        assert all(path.is_absolute() for path in plan.files)

    def test_home_and_wildcards_mean_what_they_mean_in_a_shell(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        for name in ("2.wav", "1.wav", "[x].wav"):
            (tmp_path / name).touch()
        assert read_plan({"AUDIO": "~/?.wav"}).names == ("1.wav", "2.wav")
        assert read_plan({"AUDIO": "~/[x].wav"}).names == ("[x].wav",)

    def test_a_name_that_is_no_text_can_still_be_shown(self, tmp_path: Path) -> None:
        path = tmp_path / "caf\udce9.wav"
        path.touch()
        plan = read_plan({"AUDIO": f"'{path}'"})
        assert plan.files == (path,)
        assert plan.names == ("caf\N{REPLACEMENT CHARACTER}.wav",)

    def test_what_cannot_be_read_is_refused_by_name(self, tmp_path: Path) -> None:
        assert refused({"AUDIO": str(tmp_path / "no.wav")}) == f"there is no file {tmp_path / 'no.wav'}."
        assert refused({"AUDIO": str(tmp_path)}) == f"{tmp_path} is not a file."
        assert "AUDIO has a quote" in refused({"AUDIO": "'a.wav"})
        assert "no file" in refused({"AUDIO": "~nobody-of-that-name/a.wav"})


class TestProvider:
    @pytest.mark.parametrize("confirm", ["1", ""])
    def test_a_key_alone_goes_to_the_simulator_and_is_said_not_to_be_used(self, confirm: str) -> None:
        plan = read_plan({**KEY, "CONFIRM": confirm})
        assert plan.provider_settings is None
        [note] = plan.notes
        assert "DASHSCOPE_API_KEY is not used" in note
        assert "canary" not in note

    def test_local_files_go_to_the_simulator_whatever_the_key(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        path.touch()
        plan = read_plan({**KEY, "AUDIO": str(path), "CONFIRM": "1"})
        assert not plan.is_live
        assert "could not fetch them" in plan.notes[0]

    @pytest.mark.parametrize("confirm", ["", "0", "yes", "11"])
    def test_only_1_confirms(self, confirm: str) -> None:
        plan = read_plan({**KEY, **URLS, "CONFIRM": confirm})
        assert plan.is_live
        assert not plan.is_confirmed
        assert read_plan({**KEY, **URLS, "CONFIRM": "1"}).is_confirmed

    def test_the_service_gets_the_key_and_what_is_set_about_the_provider_and_no_more(self) -> None:
        passed = {
            "SCRIBE_PROVIDER__BASE_URL": "https://other.example/api/v1",
            "SCRIBE_FETCH__HOSTS": "x.example",
        }
        kept = {
            "SCRIBE_PROVIDER__API_KEY": "sk-2",
            "SCRIBE_KAFKA__GROUP_ID": "mine",
            "HTTPS_PROXY": "http://p",
        }
        plan = read_plan({**KEY, **URLS, **passed, **kept})
        assert plan.provider_settings == {**passed, **KEY}

    def test_names_of_urls_hold_no_signature(self) -> None:
        plan = read_plan({**KEY, **URLS})
        assert plan.names == ("https://a.example/1.wav", "https://a.example/2%20.wav")
        assert plan.urls[0].endswith("?Signature=urlcanary")

    def test_what_does_not_go_together_is_refused(self) -> None:
        assert "need DASHSCOPE_API_KEY" in refused(URLS)
        assert "need DASHSCOPE_API_KEY" in refused({**URLS, "DASHSCOPE_API_KEY": " "})
        assert "exclude each other" in refused({**KEY, **URLS, "AUDIO": "a.wav"})
        assert "no http or https URL" in refused({**KEY, "URLS": "a.wav?canary=1"})


class TestEstimate:
    def test_it_tells_price_place_and_upper_bound(self) -> None:
        said = " ".join(estimate(read_plan({**KEY, **URLS})))
        assert "2 files for dashscope-intl.aliyuncs.com, model fun-asr" in said
        assert "USD 0.126 for each hour of speech" in said
        assert "cannot exceed USD 3.02" in said
        assert "canary" not in said

    def test_it_names_the_place_that_is_set(self) -> None:
        base_url = {"SCRIBE_PROVIDER__BASE_URL": "https://b.example:8443/api/v1"}
        said = " ".join(estimate(Plan(urls=("https://a.example/1.wav",), provider_settings=base_url)))
        assert "1 file for b.example:8443," in said

    def test_settings_that_the_service_would_refuse_are_refused_first(self) -> None:
        base_url = {"SCRIBE_PROVIDER__BASE_URL": "https://user:canary@b.example/api/v1"}
        with pytest.raises(DemoError, match="SCRIBE_PROVIDER__BASE_URL must be") as caught:
            estimate(Plan(urls=("https://a.example/1.wav",), provider_settings=base_url))
        assert "canary" not in str(caught.value)
