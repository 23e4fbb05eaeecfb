"""What the simulation asks of any engine: judged here with an engine of a few lines, which packs files of
several requests into one POST, as no engine under test does yet."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from tests.unit.core.simulation.chance import Drawn
from tests.unit.core.simulation.plan import Meaning, Plan
from tests.unit.core.simulation.port import (
    JOURNAL,
    Engine,
    Made,
    Place,
    Post,
    Said,
    Settings,
    Taking,
    Violation,
    Word,
    Written,
)
from tests.unit.core.simulation.shard import Spot
from tests.unit.core.simulation.stage import Stage
from tests.unit.core.simulation.weather import Weather

SETTINGS = Settings(files_per_task=100, room=100, remembered_jobs=10**6, ahead_ms=0)


@dataclass(frozen=True)
class Note:
    """A journal record: one word on some jobs."""

    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    topic: str = JOURNAL


class NoteReader:
    """One record tells one word of all jobs that it names: `intent 1 of r0/0/0 r1/0/0`."""

    def epoch(self, record: Written) -> int:
        return int(dict(record.headers)["epoch"])

    def batch(self, record: Written) -> object:
        return record.value

    def is_claim(self, record: Written) -> bool:
        return record.key == b"claim"

    def said(self, record: Written) -> Sequence[Said]:
        jobs = (record.value or b"").decode().split()
        return [Said(job, Word.INTENT, record.key.decode()) for job in jobs]

    def tasks(self, record: Written) -> set[str]:
        return set()

    def cursor(self, record: Written) -> int | None:
        return None


class NoteEngine:
    def take(self, place: Place) -> Taking:
        raise NotImplementedError

    def reader(self) -> NoteReader:
        return NoteReader()


ENGINE: Engine = NoteEngine()


def stage_of(*requests: dict[str, object]) -> Stage:
    stage = Stage(SETTINGS, Drawn(random.Random(1)), Plan(), Weather(), ENGINE)
    stage.calm = stage.provider.calm = True
    for number, request in enumerate(requests):
        body = {"request_id": f"r{number}", "model": "fun-asr", **request}
        stage.publish(json.dumps(body).encode(), f"r{number}".encode(), Meaning.SERVED)
    return stage


def note(stage: Stage, key: str, jobs: str, epoch: int = 1) -> None:
    spot = Spot(stage, stage.shards[0])
    spot.append(Note(key.encode(), jobs.encode(), (("epoch", b"%d" % epoch),)))


A, B = "https://h.example/good/a.wav", "https://h.example/good/b.wav"
PACK = Post("fun-asr", {"r0/0/0": A, "r1/0/0": B}, {"r0/0/0": "first", "r1/0/0": "first"}, epoch=1)


def packed() -> Stage:
    """Two requests, and an intent for a file of each."""
    stage = stage_of({"file_urls": [A]}, {"file_urls": [B]})
    note(stage, "first", "r0/0/0 r1/0/0")
    return stage


def test_one_post_may_be_for_files_of_several_requests() -> None:
    stage = packed()
    made = stage.provider.submit(PACK)
    assert isinstance(made, Made)
    assert stage.ledger.tasks[made.task_id].files == {"r0/0/0": A, "r1/0/0": B}
    assert stage.seen["POST of several requests"] == 1


@pytest.mark.parametrize(
    ("post", "rule"),
    [
        (replace(PACK, files={"r0/0/0": A, "r1/0/0": A}), "N1: one URL twice in a task"),
        (replace(PACK, files={"r0/0/0": A, "r1/0/0": A.replace("good", "%67ood")}), "N1: one URL twice"),
        (replace(PACK, files={"r0/0/0": B}), "N1: r0/0/0 is posted with another file"),
        (replace(PACK, model="fun-asr-mtl"), "N1: r0/0/0 is posted with .*fun-asr-mtl"),
        (replace(PACK, vocabulary_id="vocab-0"), "N1: r0/0/0 is posted with .*etcd"),
        (replace(PACK, intents={"r0/0/0": "first", "r1/0/0": "second"}), "N2: r1/0/0 is posted"),
        (replace(PACK, epoch=2), "N2: r0/0/0 is posted"),
    ],
)
def test_a_post_that_does_not_fit_its_jobs_or_their_intents_is_seen(post: Post, rule: str) -> None:
    stage = packed()
    stage.ledger.list_of("fun-asr", ["etcd"])
    with pytest.raises(Violation, match=rule):
        stage.provider.submit(post)


def test_an_intent_behind_a_higher_claim_is_none() -> None:
    stage = stage_of({"file_urls": [A]}, {"file_urls": [B]})
    note(stage, "claim", "", epoch=2)
    note(stage, "first", "r0/0/0 r1/0/0")
    with pytest.raises(Violation, match="N2: r0/0/0 is posted"):
        stage.provider.submit(PACK)


def test_a_second_post_of_a_file_whose_task_may_succeed_is_seen_whatever_it_is_packed_with() -> None:
    stage = packed()
    stage.provider.submit(PACK)
    note(stage, "second", "r1/0/0")
    with pytest.raises(Violation, match=r"N3: r1/0/0 is submitted again, and one of \['t0'\]"):
        stage.provider.submit(Post("fun-asr", {"r1/0/0": B}, {"r1/0/0": "second"}, epoch=1))


def test_a_post_after_the_deadline_is_seen() -> None:
    stage = stage_of({"file_urls": [A], "ttl_seconds": 60}, {"file_urls": [B]})
    note(stage, "first", "r0/0/0 r1/0/0")
    stage.now_ms += 80_000
    with pytest.raises(Violation, match="N13: r0/0/0 is posted after its deadline"):
        stage.provider.submit(PACK)


def test_a_list_of_other_hotwords_is_seen() -> None:
    stage = stage_of({"file_urls": [A], "options": {"hotwords": [{"text": "raft"}]}})
    note(stage, "first", "r0/0/0")
    wrong, right = (stage.ledger.list_of("fun-asr", [word]) for word in ("etcd", "raft"))
    post = Post("fun-asr", {"r0/0/0": A}, {"r0/0/0": "first"}, 1, wrong)
    with pytest.raises(Violation, match="N1: r0/0/0 is posted with"):
        stage.provider.submit(post)
    assert isinstance(stage.provider.submit(replace(post, vocabulary_id=right)), Made)


def test_a_call_that_was_answered_is_not_made_again_by_who_was_answered() -> None:
    stage = stage_of({"file_urls": [A], "model": "qwen3-asr-flash"})
    note(stage, "first", "r0/0/0")
    post = Post("qwen3-asr-flash", {"r0/0/0": A}, {"r0/0/0": "first"}, 1)
    stage.provider.submit(post)
    with pytest.raises(Violation, match="N3: r0/0/0 is called for again by the owner that was answered"):
        stage.provider.submit(post)
    for epoch in (2, 3):
        note(stage, "first", "r0/0/0", epoch)
        stage.provider.submit(replace(post, epoch=epoch))
    note(stage, "first", "r0/0/0", epoch=4)
    with pytest.raises(Violation, match="N10: r0/0/0 is called for again after 3 calls"):
        stage.provider.submit(replace(post, epoch=4))
