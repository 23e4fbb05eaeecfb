"""Why topics could not be made: each reason once, with the topics it is about."""

import pytest

from service.errors import ConfigError
from service.kafka.topics import _raise_refusals

FOUR = ("requests", "results", "failures", "journal")
TOO_FEW = "Unable to replicate the partition 3 time(s): only 1 broker(s) are registered."
Refusal = tuple[str, int, str]


def refused(*refusals: Refusal) -> str:
    with pytest.raises(ConfigError) as raised:
        _raise_refusals(list(refusals))
    return str(raised.value)


def test_a_reason_that_four_topics_have_is_said_once() -> None:
    assert refused(*[(name, 38, TOO_FEW) for name in FOUR]) == (
        f"the broker did not create requests, results, failures, journal ({TOO_FEW.rstrip('.')}); "
        "create it by hand or change SCRIBE_TOPICS__REPLICATION"
    )


def test_a_reason_that_names_its_topic_is_said_once() -> None:
    sentence = refused(*[(name, 44, f"Creation of {name} violates the policy") for name in FOUR])
    assert sentence.count("violates") == 1
    assert all(name in sentence for name in FOUR)


def test_a_reason_without_words_is_its_code() -> None:
    assert "requests, results (38)" in refused(("requests", 38, ""), ("results", 38, ""))


def test_different_reasons_stand_with_their_topics() -> None:
    sentence = refused(("requests", 38, "too few brokers"), ("results", 44, "the policy forbids it"))
    assert "requests (too few brokers); results (the policy forbids it)" in sentence


def test_a_topic_that_another_process_made_meanwhile_is_no_refusal() -> None:
    _raise_refusals([(name, 36, "already exists") for name in FOUR])
    _raise_refusals([(name, 0, "") for name in FOUR])
