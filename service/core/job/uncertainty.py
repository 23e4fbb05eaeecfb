"""What becomes of uncertain submissions.

These are the label values of the metric that counts their jobs.
"""

from enum import StrEnum


class UncertainOutcome(StrEnum):
    """One step of an uncertain submission, counted once for each of its jobs."""

    BEGUN = "begun"
    ADOPTED = "adopted"
    RESUBMITTED = "resubmitted"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
