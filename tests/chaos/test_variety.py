"""What a storm asks for is drawn from its seed, leaves no kind out, and is what the contract takes."""

from collections import Counter

import pytest

from service.contract.request_decoder import RequestLimits, read_request
from service.errors import InvalidRecord
from tests.chaos.gathering import PURPOSE_HEADER
from tests.chaos.load import Record
from tests.chaos.variety import KINDS, LATER, MOST_FILES, Batch, make_batch

SEEDS = range(3)
BATCHES = 60
PER_BATCH = 4


def batches(seed: int) -> list[Batch]:
    return [make_batch(seed, number, PER_BATCH) for number in range(BATCHES)]


def test_the_same_batches_are_made_again_for_a_seed_in_any_order() -> None:
    assert batches(1) == [make_batch(1, number, PER_BATCH) for number in reversed(range(BATCHES))][::-1]
    assert batches(1) != batches(2)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_minute_of_a_storm_meets_every_kind(seed: int) -> None:
    met = Counter(kind for batch in batches(seed) for kind in batch.kinds)
    assert set(KINDS) <= met.keys()


@pytest.mark.parametrize("seed", SEEDS)
def test_no_two_files_have_one_outcome_and_one_url_says_one_thing(seed: int) -> None:
    files = [file for batch in batches(seed) for request in batch.requests for file in request.files]
    assert len({file.id for file in files}) == len(files)
    assert len({(file.url, file.text) for file in files}) == len({file.url for file in files})


@pytest.mark.parametrize("seed", SEEDS)
def test_urls_are_equal_inside_a_request_and_across_requests(seed: int) -> None:
    requests = [
        request for batch in batches(seed) for request in batch.requests if request.kind != "replayed"
    ]
    inside = [r for r in requests if len({file.url for file in r.files}) < len(r.files)]
    across = Counter(url for r in requests for url in {file.url for file in r.files})
    assert {request.kind for request in inside} == {"twins"}
    assert max(across.values()) > 3


def test_what_follows_on_a_request_comes_behind_it_under_its_key() -> None:
    for number, batch in enumerate(batches(1)):
        followers = ("cancel", "conflict", "other_files")
        keys = [record.key for record in batch.records if record.purpose in followers]
        assert all(key.startswith(f"s{number - LATER}-") for key in keys)


def test_records_are_as_large_as_the_contract_takes() -> None:
    large = [request for batch in batches(1) for request in batch.requests if request.kind == "large"]
    records = [len(request.record().value or b"") for request in large]
    assert all(record < 512 * 1024 for record in records)
    assert max(len(request.files) for request in large) in (MOST_FILES // 4, MOST_FILES // 2, MOST_FILES)
    assert min(records) > 35_000


@pytest.mark.parametrize("seed", SEEDS)
def test_every_record_is_read_as_its_purpose_says(seed: int) -> None:
    for batch in batches(seed):
        for record in batch.records:
            _is_read(record)


def _is_read(record: Record) -> None:
    headers = [(PURPOSE_HEADER, record.purpose.encode())]
    if record.key.startswith("bad-"):
        with pytest.raises(InvalidRecord) as refused:
            read_request(record.value, headers, RequestLimits())
        assert refused.value.code == record.purpose
    else:
        assert read_request(record.value, headers, RequestLimits()).request.request_id == record.key
