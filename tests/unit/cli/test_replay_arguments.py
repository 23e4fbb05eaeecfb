"""How the URLs of a replay get new signatures."""

from pathlib import Path

import pytest
import typer

from service.cli.replay_arguments import asked

URL = "https://h.example/a.wav?Signature=old"
PATTERN = r"\?.*$"


def test_the_replacement_may_be_in_a_file_so_that_no_process_list_shows_a_signature(tmp_path: Path) -> None:
    file = tmp_path / "signature"
    for text in (r"?Signature=new", "?Signature=new\n", "?Signature=new\r\n"):
        file.write_text(text, newline="")
        made = asked(replace_url=(PATTERN, f"@{file}"))
        assert made.rules.edit(URL) == "https://h.example/a.wav?Signature=new"
        assert made.edits_urls


def test_a_replacement_without_the_mark_is_taken_as_it_stands() -> None:
    assert asked(replace_url=(PATTERN, "?Signature=@new")).rules.edit(URL) == (
        "https://h.example/a.wav?Signature=@new"
    )


@pytest.mark.parametrize("content", [None, b"\xff", rb"\9secret"])
def test_a_file_that_gives_no_replacement_is_named_without_its_content(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "signature"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(typer.BadParameter) as refused:
        asked(replace_url=(PATTERN, f"@{file}"))
    assert refused.value.param_hint == "--replace-url"
    assert "secret" not in refused.value.message
