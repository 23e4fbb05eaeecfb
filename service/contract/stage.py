"""The stages of a job, as failures name them."""

from enum import StrEnum


class Stage(StrEnum):
    """Where a job was when it failed."""

    DECODE = "decode"
    ACCEPT = "accept"
    SUBMIT = "submit"
    POLL = "poll"
    COLLECT = "collect"
    PUBLISH = "publish"
