"""The command line against a broker: what users type, what they read, and how it ends."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import pytest
import typer.testing
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from pydantic import JsonValue

from sandbox.broker import embedded_broker
from sandbox.child import free_ports
from service.cli.commands import app
from service.contract.outcome import Attempts, Failure, Origin, RequestSummary, Result, Times, Usage
from service.contract.request import Action
from service.contract.request_decoder import RequestLimits, read_request
from service.contract.stage import Stage
from service.contract.transcript import AudioProperties, Channel, Sentence, Transcript
from service.errors import ConfigError, FailureCode
from service.kafka.client import terminal_client
from service.kafka.client.cluster import ClusterConfig
from tests.brokers import TopicNames, create_topics, in_test_all
from tests.plugins.environment import NO_TRUST

pytest_plugins = ["tests.brokers"]

COMMAND_SECONDS = 90
URL = "https://example.org/a%20b.wav?Signature=urlcanary"
ROLES = ("requests", "results", "failures", "journal")


@dataclass(frozen=True)
class Setting:
    """A broker with our topics, and the environment that names them."""

    bootstrap: str
    topics: dict[str, str]

    @property
    def environ(self) -> dict[str, str]:
        names = {f"SCRIBE_TOPICS__{role.upper()}": name for role, name in self.topics.items()}
        return {
            "PATH": os.defpath,
            **NO_TRUST,
            "SCRIBE_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap,
            "SCRIBE_KAFKA__FETCH_MAX_WAIT_MS": "20",
            "SCRIBE_TOPICS__REPLICATION": "1",
            "SCRIBE_TOPICS__PARTITIONS": "2",
            **names,
        }

    def run(self, *arguments: str) -> typer.testing.Result:
        """The command in this process, from its first word to its exit code."""
        return typer.testing.CliRunner().invoke(app, arguments, env=self.environ)

    @contextmanager
    def started(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """The command while it runs; the first line on standard error has been read: it is at work."""
        with subprocess.Popen(
            [sys.executable, "-m", "service", *arguments],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stderr is not None
                assert process.stderr.readline(), "it ended before it began"
                yield process
            finally:
                process.kill()


@pytest.fixture
async def setting(bootstrap: str, topic_names: TopicNames) -> Setting:
    names = dict(zip(ROLES, topic_names(*ROLES), strict=True))
    await create_topics(bootstrap, dict.fromkeys(names.values(), 2))
    return Setting(bootstrap, names)


async def published(setting: Setting, role: str) -> list[ConsumerRecord]:
    """All records of a topic."""
    # Not `seek_to_beginning`: right after `assign` it may lose against the reset to the end (aiokafka 0.14).
    async with AIOKafkaConsumer(
        bootstrap_servers=setting.bootstrap, fetch_max_wait_ms=20, auto_offset_reset="earliest"
    ) as consumer:
        partitions = [TopicPartition(setting.topics[role], number) for number in range(2)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[ConsumerRecord] = []
        async with asyncio.timeout(COMMAND_SECONDS):
            while len(found) < sum(ends.values()):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found.extend(records)
        return found


@asynccontextmanager
async def producer(setting: Setting) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(bootstrap_servers=setting.bootstrap) as made:
        yield made


async def answer(setting: Setting, role: str, body: Result | Failure) -> None:
    """Publish an outcome as the service would."""
    async with producer(setting) as made:
        key = (body.request_id or "").encode()
        await made.send_and_wait(setting.topics[role], body.to_bytes(), key)


def result(request_id: str, index: int = 0, text: str = "Hello, world.") -> Result:
    sentences = (
        Sentence(sentence_id=1, begin_ms=1230, end_ms=4560, text=text),
        Sentence(sentence_id=2, begin_ms=3_605_000, end_ms=3_606_000, text="Good bye.", speaker_id=1),
    )
    return Result(
        request_id=request_id,
        replay=0,
        file_index=index,
        file_count=1,
        file_url=URL,
        model="fun-asr",
        task_id="t-1",
        transcript=Transcript(AudioProperties(), (Channel(0, text, sentences=sentences),)),
        usage=Usage(),
        times=Times(),
        attempts=Attempts(),
        request_summary=RequestSummary(succeeded=1, failed=0, billed_seconds=4),
    )


def failure(request_id: str, index: int | None = 0) -> Failure:
    return Failure(
        request_id=request_id,
        replay=None if index is None else 0,
        file_index=index,
        file_url=None if index is None else URL,
        stage=Stage.POLL,
        code=FailureCode.AUDIO_NOT_FOUND,
        provider_code="FILE_404_NOT_FOUND",
        message="no such file",
        retryable=True,
    )


class TestSubmit:
    async def test_submit_publishes_a_valid_request_and_prints_its_id(self, setting: Setting) -> None:
        done = await asyncio.to_thread(
            setting.run,
            *("submit", URL, "https://example.org/b.wav", "--id", "my-1"),
            *("--option", 'language_hints=["en"]', "--option", "diarization_enabled=true"),
            *("--metadata", "case=007", "--metadata", "note=two words", "--ttl-seconds", "600"),
        )
        assert (done.exit_code, done.stdout, done.stderr) == (0, "my-1\n", "")
        [record] = await published(setting, "requests")
        assert record.key == b"my-1"
        request = read_request(record.value, record.headers, RequestLimits()).request
        assert request.file_urls == (URL, "https://example.org/b.wav")
        assert request.options == {"language_hints": ["en"], "diarization_enabled": True}
        assert request.metadata == {"case": "007", "note": "two words"}
        assert request.ttl_seconds == 600

    async def test_requests_without_an_id_get_one_each(self, setting: Setting) -> None:
        first = await asyncio.to_thread(setting.run, "submit", URL)
        second = await asyncio.to_thread(setting.run, "submit", URL)
        assert first.stdout != second.stdout
        keys = {record.key.decode() for record in await published(setting, "requests")}
        assert keys == {first.stdout.strip(), second.stdout.strip()}

    async def test_what_the_service_would_refuse_is_not_published(self, setting: Setting) -> None:
        done = await asyncio.to_thread(setting.run, "submit", "file:///etc/passwd")
        assert done.exit_code == 2
        assert done.stderr == "scribe: `file_urls[0]` must be an http, https or oss URL\n"
        assert await published(setting, "requests") == []

    async def test_waiting_prints_the_transcript_with_its_times(self, setting: Setting) -> None:
        earlier = result("my-1", text="Of another file.").model_copy(update={"file_url": f"{URL}.mp3"})
        await answer(setting, "results", earlier)
        with setting.started("submit", URL, "--id", "my-1", "--wait", "--timeout", "20") as process:
            await answer(setting, "failures", failure("of-somebody-else"))
            await answer(setting, "results", result("my-1"))
            out, _ = await asyncio.to_thread(process.communicate, timeout=COMMAND_SECONDS)
        assert process.returncode == 0
        assert out.splitlines() == [
            "my-1, file 0: https://example.org/a%20b.wav",
            "  00:00:01.230 - 00:00:04.560  Hello, world.",
            "  01:00:05.000 - 01:00:06.000  speaker 1: Good bye.",
        ]

    async def test_waiting_for_an_id_whose_outcomes_are_there_shows_them_and_publishes_nothing(
        self, setting: Setting
    ) -> None:
        """A service that remembers the request answers a repeat once a minute at most: a wait would hang."""
        await answer(setting, "results", result("my-1", 0))
        await answer(setting, "failures", failure("my-1", 1).model_copy(update={"model": "fun-asr"}))
        arguments = ("submit", URL, URL, "--id", "my-1", "--wait", "--timeout", "5")
        done = await asyncio.to_thread(setting.run, *arguments)
        assert done.exit_code == 1
        assert "Hello, world." in done.stdout
        assert "failed: audio_not_found" in done.stderr
        assert "my-1: done before; not published: --replay with a new number does it again" in done.stderr
        assert "my-1: what was there already does not name its options" in done.stderr
        assert await published(setting, "requests") == []
        # Only what is missing is waited for.
        one = await asyncio.to_thread(setting.run, *arguments, "--file-indexes", "0", "--format", "json")
        assert (one.exit_code, json.loads(one.stdout)["file_index"]) == (0, 0)
        with setting.started("submit", URL, URL, URL, "--id", "my-1", "--wait", "--timeout", "20") as process:
            await answer(setting, "results", result("my-1", 2))
            out, _ = await asyncio.to_thread(process.communicate, timeout=COMMAND_SECONDS)
        assert out.count("Hello, world.") == 2
        assert len(await published(setting, "requests")) == 1

    @pytest.mark.parametrize(
        "other",
        [("--replay", "1"), ("--model", "paraformer-v2"), ("--id", "my-2")],
        ids=lambda words: words[0],
    )
    async def test_outcomes_of_other_work_are_not_shown_for_it(
        self, setting: Setting, other: tuple[str, str]
    ) -> None:
        await answer(setting, "results", result("my-1"))
        arguments = ("submit", URL, "--id", "my-1", "--wait", "--timeout", "1", *other)
        done = await asyncio.to_thread(setting.run, *arguments)
        assert done.exit_code == 1
        assert "the outcomes did not come in time" in done.stderr
        assert "Hello, world." not in done.stdout
        assert len(await published(setting, "requests")) == 1

    @pytest.mark.parametrize(
        "asked", [{}, {"options": {"language_hints": ["de"]}}, {"output": {"formats": ["srt"]}}], ids=str
    )
    async def test_a_failure_is_shown_for_the_request_with_its_options_alone(
        self, setting: Setting, asked: dict[str, JsonValue]
    ) -> None:
        original: dict[str, JsonValue] = {"request_id": "my-1", "file_urls": [URL], "model": "fun-asr"}
        told = {"model": "fun-asr", "original_request": {**original, **asked}}
        await answer(setting, "failures", failure("my-1").model_copy(update=told))
        arguments = ("submit", URL, "--id", "my-1", "--wait", "--timeout", "1")
        hints = ("--option", 'language_hints=["de"]')
        plain = await asyncio.to_thread(setting.run, *arguments)
        hinted = await asyncio.to_thread(setting.run, *arguments, *hints)
        assert ("done before" in plain.stderr) is (asked == {})
        assert ("done before" in hinted.stderr) is ("options" in asked)
        assert "does not name its options" not in plain.stderr + hinted.stderr

    async def test_a_result_in_forms_that_were_not_asked_for_is_of_another_request(
        self, setting: Setting
    ) -> None:
        await answer(setting, "results", result("my-1").model_copy(update={"renderings": {"srt": "1"}}))
        done = await asyncio.to_thread(
            setting.run, *("submit", URL, "--id", "my-1", "--wait", "--timeout", "1")
        )
        assert "done before" not in done.stderr
        assert len(await published(setting, "requests")) == 1

    async def test_the_record_may_have_another_key_headers_and_a_part_of_the_files(
        self, setting: Setting
    ) -> None:
        done = await asyncio.to_thread(
            setting.run,
            *("submit", URL, URL, URL, "--id", "my-1", "--file-indexes", "0, 2", "--ttl", "60"),
            *("--key", "mine", "--header", "traceparent=00-1", "--header", "odd=a=b"),
        )
        assert done.exit_code == 0, done.output
        [record] = await published(setting, "requests")
        assert record.key == b"mine"
        assert {("traceparent", b"00-1"), ("odd", b"a=b")} <= set(record.headers)
        request = read_request(record.value, record.headers, RequestLimits()).request
        assert (request.file_indexes, request.ttl_seconds) == ((0, 2), 60)

    async def test_waiting_for_two_files_ends_with_both_and_says_which_failed(self, setting: Setting) -> None:
        with setting.started("submit", URL, URL, "--id", "my-2", "--wait", "--timeout", "20") as process:
            await answer(setting, "failures", failure("my-2", 1))
            await answer(setting, "failures", failure("my-2", 1))
            await answer(setting, "results", result("my-2", 0))
            out, err = await asyncio.to_thread(process.communicate, timeout=COMMAND_SECONDS)
        assert process.returncode == 1
        assert out.count("Hello, world.") == 1
        said = (
            "failed: audio_not_found (FILE_404_NOT_FOUND): no such file; "
            "the same work may succeed under the next unused replay number\n"
        )
        assert err.count(said) == 1

    @in_test_all
    async def test_a_refused_request_ends_the_waiting(self, setting: Setting) -> None:
        with setting.started("submit", URL, URL, "--id", "my-3", "--wait") as process:
            await answer(setting, "failures", failure("my-3", None))
            await asyncio.to_thread(process.communicate, timeout=COMMAND_SECONDS)
        assert process.returncode == 1

    @in_test_all
    async def test_a_request_that_has_ended_before_ends_the_waiting_with_the_advice(
        self, setting: Setting
    ) -> None:
        arguments = ("submit", URL, "--id", "my-6", "--replay", "2", "--wait", "--timeout", "20")
        with setting.started(*arguments) as process:
            [asked] = await published(setting, "requests")
            for code, offset in (("of a cancel", asked.offset + 1), ("of this record", asked.offset)):
                ended = Failure(
                    request_id="my-6",
                    replay=2,
                    stage=Stage.ACCEPT,
                    code=FailureCode.ALREADY_FINISHED,
                    message=f'{code}: publish it with "replay": 3',
                    retryable=False,
                    origin=Origin(topic=asked.topic, partition=asked.partition, offset=offset),
                )
                await answer(setting, "failures", ended)
            out, err = await asyncio.to_thread(process.communicate, timeout=COMMAND_SECONDS)
        assert (process.returncode, out) == (1, "")
        assert 'failed: already_finished: of this record: publish it with "replay": 3' in err
        assert "of a cancel" not in err

    @in_test_all
    async def test_a_replay_is_waited_for_by_its_number(self, setting: Setting) -> None:
        arguments = ("submit", URL, "--id", "my-7", "--replay", "1", "--wait", "--timeout", "20")
        with setting.started(*arguments) as process:
            await answer(setting, "results", result("my-7", text="Of replay 0."))
            await answer(setting, "results", result("my-7").model_copy(update={"replay": 1}))
            out, _ = await asyncio.to_thread(process.communicate, timeout=COMMAND_SECONDS)
        assert process.returncode == 0
        assert "Hello, world." in out
        assert "Of replay 0." not in out

    async def test_outcomes_that_do_not_come_in_time_are_a_sentence(self, setting: Setting) -> None:
        done = await asyncio.to_thread(setting.run, "submit", URL, "--wait", "--timeout", "1")
        assert done.exit_code == 1
        assert "did not come in time" in done.stderr
        assert "Traceback" not in done.stderr

    @in_test_all
    async def test_waiting_prints_the_transcripts_in_the_form_that_is_asked_for(
        self, setting: Setting
    ) -> None:
        arguments = ("submit", URL, URL, "--id", "my-4", "--wait", "--timeout", "20", "--format", "srt")
        with setting.started(*arguments) as process:
            await answer(setting, "results", result("my-4", 0))
            await answer(setting, "failures", failure("my-4", 1))
            out, err = await asyncio.to_thread(process.communicate, timeout=COMMAND_SECONDS)
        assert process.returncode == 1
        assert out == (
            "1\n00:00:01,230 --> 00:00:04,560\nUnknown speaker: Hello, world.\n\n"
            "2\n01:00:05,000 --> 01:00:06,000\nSpeaker 1: Good bye.\n\n"
        )
        assert "my-4, file 0: https://example.org/a%20b.wav\n" in err
        assert "failed: audio_not_found" in err

    @in_test_all
    async def test_waiting_prints_json_where_it_is_asked_for(self, setting: Setting) -> None:
        arguments = ("submit", URL, "--id", "my-5", "--wait", "--timeout", "20", "--format", "json")
        with setting.started(*arguments) as process:
            await answer(setting, "results", result("my-5"))
            out, _ = await asyncio.to_thread(process.communicate, timeout=COMMAND_SECONDS)
        assert process.returncode == 0
        assert out == result("my-5").to_bytes().decode() + "\n"


async def test_cancel_publishes_a_cancel_with_the_requests_key(setting: Setting) -> None:
    done = await asyncio.to_thread(setting.run, "cancel", "my-1", "--replay", "2")
    assert done.exit_code == 0
    [record] = await published(setting, "requests")
    assert record.key == b"my-1"
    request = read_request(record.value, record.headers, RequestLimits()).request
    assert (request.action, request.request_id, request.replay) == (Action.CANCEL, "my-1", 2)


class TestWatch:
    async def test_watch_prints_results_and_failures_as_they_arrive(self, setting: Setting) -> None:
        await answer(setting, "results", result("before"))
        with setting.started("watch", "--count", "2") as process:
            await answer(setting, "results", result("my-1"))
            await answer(setting, "failures", failure("my-2", None))
            out, _ = await asyncio.to_thread(process.communicate, timeout=COMMAND_SECONDS)
        assert process.returncode == 0
        assert "Hello, world." in out
        assert "my-2\n  failed: audio_not_found" in out
        assert "before" not in out

    async def test_from_the_beginning_it_shows_the_old_ones_and_skips_what_is_no_outcome(
        self, setting: Setting
    ) -> None:
        async with producer(setting) as made:
            await made.send_and_wait(setting.topics["results"], b"\xff not ours", partition=0)
            await made.send_and_wait(setting.topics["results"], result("before").to_bytes(), partition=0)
        done = await asyncio.to_thread(setting.run, "watch", "--from-beginning", "-o", "json", "--count", "1")
        assert done.exit_code == 0
        assert json.loads(done.stdout)["request_id"] == "before"
        assert "is no outcome" in done.stderr

    async def test_watch_prints_transcripts_to_standard_output_and_the_rest_to_standard_error(
        self, setting: Setting
    ) -> None:
        await answer(setting, "results", result("my-1"))
        done = await asyncio.to_thread(
            setting.run, "watch", "--from-beginning", "--format", "text", "--count", "1"
        )
        assert done.exit_code == 0
        assert done.stdout == "Unknown speaker: Hello, world.\nSpeaker 1: Good bye.\n\n"
        assert "my-1, file 0" in done.stderr

    async def test_only_what_is_asked_for_is_shown_and_counted(self, setting: Setting) -> None:
        await answer(setting, "results", result("call-1"))
        await answer(setting, "failures", failure("call-2"))
        await answer(setting, "failures", failure("other-1"))
        only = ("watch", "--from-beginning", "--count", "1", "-o", "json")
        named = await asyncio.to_thread(setting.run, *only, "--id", "call-*", "--failures")
        assert (named.exit_code, json.loads(named.stdout)["request_id"]) == (0, "call-2")
        exact = await asyncio.to_thread(setting.run, *only, "--id", "call-1", "--id", "none")
        assert json.loads(exact.stdout)["request_id"] == "call-1"

    async def test_it_begins_at_a_time(self, setting: Setting) -> None:
        times = {"first": 1_750_000_000_000, "second": 1_760_000_000_000, "third": 1_770_000_000_000}
        async with producer(setting) as made:
            for name, time_ms in times.items():
                value = result(name).to_bytes()
                await made.send_and_wait(setting.topics["results"], value, partition=0, timestamp_ms=time_ms)
        moment = "2025-10-09T08:53:20Z"  # of the second
        done = await asyncio.to_thread(setting.run, "watch", "--since", moment, "--count", "2", "-o", "json")
        assert done.exit_code == 0
        shown = [json.loads(line)["request_id"] for line in done.stdout.splitlines()]
        assert shown == ["second", "third"]

    async def test_ctrl_c_ends_it_cleanly(self, setting: Setting) -> None:
        with setting.started("watch") as process:
            process.send_signal(signal.SIGINT)
            out, err = await asyncio.to_thread(process.communicate, timeout=COMMAND_SECONDS)
        assert process.returncode == 130
        assert (out, err) == ("", "")

    async def test_a_broker_that_goes_away_is_a_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(terminal_client, "IDLE_SECONDS", 0.5)
        monkeypatch.setattr(terminal_client, "PROBE_SECONDS", 0.5)
        with embedded_broker() as broker:
            await create_topics(broker.bootstrap, {"results": 1})
            cluster = ClusterConfig(broker.bootstrap)
            async with terminal_client.following(cluster, ["results"], 20) as records:
                broker.process.kill()
                with pytest.raises(ConfigError, match="does not answer"):
                    await anext(records)


class TestTopics:
    def test_missing_topics_are_created_and_then_found(
        self, embedded_bootstrap: str, topic_names: TopicNames
    ) -> None:
        setting = Setting(embedded_bootstrap, dict(zip(ROLES, topic_names(*ROLES), strict=True)))
        missing = setting.run("topics", "--check")
        assert missing.exit_code == 78
        assert "missing topics: " + ", ".join(setting.topics.values()) in missing.stderr
        created = setting.run("topics")
        assert created.exit_code == 0
        assert created.stdout == ", ".join(setting.topics.values()) + ": 2 partitions\n"
        assert setting.run("topics", "--check").exit_code == 0

    @pytest.mark.parametrize(
        "arguments",
        [("submit", URL), ("watch",), ("watch", "--since", "60"), ("cancel", "x"), ("cancel", "x", "--wait")],
    )
    def test_missing_topics_are_a_sentence_and_are_not_created_by_accident(
        self, embedded_bootstrap: str, topic_names: TopicNames, arguments: tuple[str, ...]
    ) -> None:
        setting = Setting(embedded_bootstrap, dict(zip(ROLES, topic_names(*ROLES), strict=True)))
        done = setting.run(*arguments)
        assert done.exit_code == 78
        assert "`scribe topics` creates them" in done.stderr
        assert "missing topics" in setting.run("topics", "--check").stderr


@pytest.mark.parametrize("arguments", [("submit", URL), ("submit", URL, "--wait"), ("watch",), ("topics",)])
def test_a_cluster_that_is_not_there_is_one_sentence(arguments: tuple[str, ...]) -> None:
    [port] = free_ports(1)
    done = Setting(f"127.0.0.1:{port}", {}).run(*arguments)
    assert done.exit_code == 78
    assert done.stderr.startswith(f"scribe: Kafka at 127.0.0.1:{port} does not answer")
    assert done.stderr.count("\n") == 1


async def test_a_cluster_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal_client, "BOUND_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cluster = ClusterConfig(f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ConfigError, match="does not answer"):
            await terminal_client.publish(cluster, "requests", b"key", b"value")
        with pytest.raises(ConfigError, match="does not answer"):
            async with terminal_client.following(cluster, ["results"], 20):
                pytest.fail("it must not begin")
