"""What `make live` says and shows before and beside its calls; the calls are in tests/integration."""

from pathlib import Path

import pytest

from service.contract.regions import BEIJING, HONG_KONG
from service.errors import ConfigError
from tools.live import questions
from tools.live.__main__ import main
from tools.live.inquiries import INQUIRIES, Row
from tools.live.plan import cost, read_plan
from tools.live.questions import RATE_HEADERS, ErrorPolicy, Question, Seen
from tools.live.table import markdown, summary

KEY = "sk-0123456789abcdef"


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    return str(path)


def test_a_plan_names_the_host_of_its_region_unless_a_url_is_given(key_file: str) -> None:
    assert read_plan({"KEY_FILE": key_file}).host == "dashscope-intl.aliyuncs.com"
    assert read_plan({"KEY_FILE": key_file, "REGION": BEIJING}).config.base_url == (
        "https://dashscope.aliyuncs.com/api/v1"
    )
    plan = read_plan({"KEY_FILE": key_file, "BASE_URL": "https://ws.example.org/api/v1", "OUT": "a.md"})
    assert (plan.host, plan.out, plan.is_confirmed) == ("ws.example.org", Path("a.md"), False)
    assert plan.config.api_key.get_secret_value() == KEY


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"KEY_FILE": ""}, "name the file that holds the key"),
        ({"KEY_FILE": "/nowhere/key"}, "KEY_FILE names a file that cannot be read"),
        ({"REGION": "mars"}, "REGION is one of cn-beijing, ap-southeast-1, us-east-1"),
        ({"BASE_URL": "ftp://host/api/v1"}, "SCRIBE_PROVIDER__BASE_URL must be an http or https URL"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(key_file: str, changed: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        read_plan({"KEY_FILE": key_file, **changed})


def test_nothing_is_sent_before_it_is_confirmed(key_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main({"KEY_FILE": key_file, "BASE_URL": "http://127.0.0.1:9/api/v1", "CONFIRM": "1"}) == 2
    told = capsys.readouterr()
    assert "33 questions to 127.0.0.1: 15 short files are transcribed" in told.err
    assert "At list prices less than USD 0.02" in told.err
    assert told.err.endswith("Nothing was sent. CONFIRM=yes asks.\n")
    assert (told.out, KEY in told.err) == ("", False)
    assert main({}) == 2


def test_models_that_a_region_lacks_are_not_paid_for(key_file: str) -> None:
    assert ": 0 short files" in cost(read_plan({"KEY_FILE": key_file, "REGION": HONG_KONG}))


def test_every_question_is_asked_once() -> None:
    asked = [question for inquiry in INQUIRIES for question in inquiry.questions] + [RATE_HEADERS]
    known = [value for value in vars(questions).values() if isinstance(value, Question)]
    assert sorted(question.text for question in asked) == sorted(question.text for question in known)


def test_an_answer_is_held_against_what_is_assumed() -> None:
    question = Question("1.9", "Which?", ("data",), ("tasks",))
    assert [question.judge(Seen(word, "x")) for word in ("data", "tasks", "rows")] == [
        ErrorPolicy.SAME,
        ErrorPolicy.ALLOWED,
        ErrorPolicy.DIFFERENT,
    ]
    assert Question("2.8", "How many?").judge(Seen("2")) is ErrorPolicy.ANY
    assert question.assumed == "data; reads tasks too"


def test_the_table_shows_no_key_and_no_query_and_stays_a_table() -> None:
    odd = Seen("a|b", f"https://h/p?Signature=abc and {KEY}\nmore")
    rows = (
        Row(Question("1.9", "Which?", ("data",)), odd, ErrorPolicy.DIFFERENT),
        Row(Question("2.8", "How many?"), Seen("2"), ErrorPolicy.ANY),
    )
    page = markdown(rows, "host", "2026-01-02")
    assert page.splitlines()[:3] == [
        "# What host answered on 2026-01-02",
        "",
        "| # | question | answer | Scribe takes for granted | |",
    ]
    assert "| 2.8 | How many? | 2 | nothing | any is fine |" in page.splitlines()
    assert r"a\|b (https://h/p" in page
    assert "Signature" not in page
    assert KEY not in page
    assert summary(rows) == "2 questions: 1 any is fine, 1 DIFFERENT."
