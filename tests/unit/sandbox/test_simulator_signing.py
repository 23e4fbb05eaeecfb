"""Signed result URLs: good until they expire, for the exact path they were made for."""

from hypothesis import given
from hypothesis import strategies as st

from sandbox.simulator.signing import UrlSigner

PATH = "/results/prod/fun-asr/20260302/10%3A15/7c1d-1.json"
SIGNER = UrlSigner(b"secret of a test")


@given(expires=st.integers(1, 10**12), age=st.integers(-(10**6), 10**6))
def test_a_signed_url_is_valid_before_its_expiry_and_expired_from_then_on(expires: int, age: int) -> None:
    finding = SIGNER.check(PATH, SIGNER.query_for(PATH, expires), expires + age)
    assert finding == ("valid" if age < 0 else "expired")


@given(st.integers(0, len(PATH) - 1))
def test_a_signature_is_for_one_path_byte_for_byte(position: int) -> None:
    other = PATH[:position] + ("x" if PATH[position] != "x" else "y") + PATH[position + 1 :]
    assert SIGNER.check(other, SIGNER.query_for(PATH, 100), 0) == "mismatch"
    assert SIGNER.check(PATH.replace("%3A", ":"), SIGNER.query_for(PATH, 100), 0) == "mismatch"


def test_tampering_is_noticed() -> None:
    query = SIGNER.query_for(PATH, 100)
    assert SIGNER.check(PATH, query.replace("Expires=100", "Expires=900"), 200) == "mismatch"
    assert SIGNER.check(PATH, query.replace("=EXAMPLE", "=SOMEBODY"), 0) == "mismatch"
    assert UrlSigner().check(PATH, query, 0) == "mismatch"


@given(st.text(max_size=60))
def test_a_query_without_a_signature_is_unsigned(query: str) -> None:
    assert SIGNER.check(PATH, query.replace("Signature", ""), 0) == "unsigned"
