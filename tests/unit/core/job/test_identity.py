"""Identities: numbers and names that compare as what they stand for."""

import copy
import pickle

from service.core.job.identity import Origin, SubmissionKey


def test_the_identity_of_a_topics_first_record_is_not_false() -> None:
    """Each is a number, and the first one is zero."""
    assert all((Origin(0, 0), SubmissionKey(0, 0)))
    assert Origin(0, 0) == Origin(0, 0) != Origin(0, 1)


def test_an_identity_can_be_copied() -> None:
    for each in (Origin(3, 7), SubmissionKey(0, 2**53 - 1)):
        copies = (copy.copy(each), copy.deepcopy(each), pickle.loads(pickle.dumps(each)))  # noqa: S301
        assert {(type(one), one) for one in copies} == {(type(each), each)}
