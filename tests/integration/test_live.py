"""`make live` end to end against the simulator: the whole table, and what changes when the vendor does."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox.simulator import Fault, Simulator, SimulatorConfig, serve
from tools.live.__main__ import main
from tools.live.account import Pace, Samples
from tools.live.inquiries import INQUIRIES
from tools.live.plan import SAMPLES
from tools.live.questions import HOTWORD_LISTS, RESULT_FILE

KEY = "sk-live-0123456789"
LOST = replace(SAMPLES, missing=f"{SAMPLES.missing}?fail=FILE_404_NOT_FOUND")
FAST = Pace(look_seconds=0.01)

LIST_KEY, BAD_MODEL, NESTING, ALL_FAILED, NO_VOCABULARY, TWO_FILES = "1.9", "1.8", "1.10", "1.2", "2.7", "1.1"

ONE_FILE = "input.file_urls must not hold more than 1 urls"


def config(**changes: Any) -> SimulatorConfig:
    """A vendor that takes several files, so that everything can be asked about them."""
    given = {"files_per_task": 100, **changes}
    return SimulatorConfig(speed=50, api_keys={KEY: "a"}, submit_rpm=None, query_qps=None, **given)


async def table(
    simulator: Simulator, folder: Path, samples: Samples = LOST, pace: Pace = FAST, **changed: str
) -> tuple[int, list[list[str]]]:
    """The exit code and the cells of every row."""
    (folder / "key").write_text(changed.pop("key", KEY))
    given = {"KEY_FILE": str(folder / "key"), "BASE_URL": simulator.base_url, "CONFIRM": "yes"}
    out = folder / "table.md"
    code = await asyncio.to_thread(main, {**given, "OUT": str(out), **changed}, samples, pace)
    lines = [line for line in out.read_text().splitlines() if line.startswith("|")]
    return code, [line.strip("| ").split(" | ") for line in lines[2:]]


def row(rows: list[list[str]], source: str) -> list[str]:
    """Answer and result of the first question with this number."""
    return next([cells[2], cells[4]] for cells in rows if cells[0] == source)


async def test_every_question_has_an_answer_and_none_is_different(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serve(config()) as simulator:
        code, rows = await table(simulator, tmp_path)
        ledger = simulator.ledger()
        assert len(rows) == sum(len(inquiry.questions) for inquiry in INQUIRIES) + 1
        assert {cells[4] for cells in rows} == {"same", "any is fine", "other, allowed for"}
        assert [cells[0] for cells in rows if cells[4] == "other, allowed for"] == [TWO_FILES]
        assert code == 0
        assert ledger.leaked_keys() == 0
        billed = sum(ledger.submitted_urls().values()) - ledger.submitted_urls()[LOST.missing]
        assert billed == sum(inquiry.files for inquiry in INQUIRIES)
    told = capsys.readouterr()
    assert KEY not in told.out + told.err + (tmp_path / "table.md").read_text()
    assert "Signature" not in told.out + told.err + (tmp_path / "table.md").read_text()


@pytest.mark.parametrize(
    ("changes", "source", "answer"),
    [
        ({"list_key": "tasks"}, LIST_KEY, ["tasks", "other, allowed for"]),
        ({"bad_model_status": 404}, BAD_MODEL, ["404 ModelNotFound", "other, allowed for"]),
        ({"short_audio_nesting": 2}, NESTING, ["output.output", "other, allowed for"]),
        ({"all_failed_shape": "failed"}, ALL_FAILED, ["FAILED", "other, allowed for"]),
        ({"unknown_vocabulary": "not_found"}, NO_VOCABULARY, ["refused (404 NotFound)", "any is fine"]),
        ({"zone_hours": 0.0}, "2.4", ["GMT+0", "DIFFERENT"]),
        ({"files_per_task": 1}, TWO_FILES, [f"refused (400 InvalidParameter: {ONE_FILE})", "same"]),
        ({"list_page_limit": 50}, "2.3", ["smaller (50, 0 rows)", "other, allowed for"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
async def test_a_vendor_of_another_kind_shows_in_its_row(
    tmp_path: Path, changes: dict[str, Any], source: str, answer: list[str]
) -> None:
    async with serve(config(**changes)) as simulator:
        code, rows = await table(simulator, tmp_path)
    assert row(rows, source) == answer
    assert code == int(any(cells[4] == "DIFFERENT" for cells in rows))


async def test_a_call_that_fails_is_a_row_and_says_nothing_of_its_question(tmp_path: Path) -> None:
    async with serve(config()) as simulator:
        simulator.state.add_fault(Fault(on="list", kind="status", status=503, code="ServiceUnavailable"))
        simulator.state.add_fault(Fault(on="hotwords", kind="drop_before"))
        code, rows = await table(simulator, tmp_path)
    assert row(rows, LIST_KEY) == ["503 ServiceUnavailable", "no answer"]
    assert [cells[2] for cells in rows if cells[1] == HOTWORD_LISTS.text] == ["connection_lost"]
    assert row(rows, TWO_FILES) == ["yes (2)", "other, allowed for"]
    assert code == 0


async def test_an_unexpected_answer_is_a_row(tmp_path: Path) -> None:
    async with serve(config()) as simulator:
        simulator.state.add_fault(Fault(on="result", kind="garbage", times=None))
        _, rows = await table(simulator, tmp_path)
    [read] = [cells for cells in rows if cells[1] == RESULT_FILE.text]
    assert (read[2], read[4]) == ("unreadable: JSONDecodeError", "no answer")
    assert row(rows, "2.10") == ["no", "any is fine"]


async def test_a_task_without_end_costs_its_patience_and_no_more(tmp_path: Path) -> None:
    endless = replace(LOST, female=f"{LOST.female}?status=RUNNING_FOREVER")
    async with serve(config(call_limit_seconds=1.0)) as simulator:
        _, rows = await table(simulator, tmp_path, samples=endless, pace=Pace(0.05, 0.2))
    assert row(rows, "2.8") == ["a task was not over after 0.2 s", "no answer"]
    assert row(rows, LIST_KEY) == ["data", "same"]
    assert len(rows) == sum(len(inquiry.questions) for inquiry in INQUIRIES) + 1


async def test_a_key_that_is_none_gives_no_answer_to_anything(tmp_path: Path) -> None:
    async with serve(config()) as simulator:
        _, rows = await table(simulator, tmp_path, key="sk-stranger-0123456789")
        assert simulator.ledger().submits == []
    assert {cells[4] for cells in rows[:-1]} == {"no answer"}
    assert {cells[2] for cells in rows[:-1]} == {"401 InvalidApiKey", "401 invalid_api_key"}


async def test_a_region_without_a_model_is_not_asked_about_it(tmp_path: Path) -> None:
    async with serve(config()) as simulator:
        _, rows = await table(simulator, tmp_path, REGION="cn-hongkong")
        assert simulator.ledger().submits == []
    assert row(rows, TWO_FILES) == ["not offered in cn-hongkong", "no answer"]
    assert row(rows, LIST_KEY) == ["data", "same"]


async def test_a_table_that_cannot_be_written_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text(KEY)
    given = {
        "KEY_FILE": str(tmp_path / "key"),
        "CONFIRM": "yes",
        "REGION": "cn-hongkong",
        "OUT": str(tmp_path),
    }
    async with serve(config()) as simulator:
        await asyncio.to_thread(main, {**given, "BASE_URL": simulator.base_url}, LOST, FAST)
    told = capsys.readouterr()
    assert "was not written" in told.err
    assert "| 1.9 | Under which key are the list's rows? | data |" in told.out
