"""Identities: numbers and names that compare as what they stand for."""

from service.core.job.identity import Origin, SubmissionKey


def test_the_identity_of_a_topics_first_record_is_not_false() -> None:
    """Each is a number, and the first one is zero."""
    assert all((Origin(0, 0), SubmissionKey(0, 0)))
    assert Origin(0, 0) == Origin(0, 0) != Origin(0, 1)
