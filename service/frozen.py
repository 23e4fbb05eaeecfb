"""`dataclass`, whose `frozen` is checked by mypy and not at run time.

To the type checker `dataclass` is the standard library's: `make lint` refuses to set a field of a frozen one.
At run time its fields are set as usual: the standard library sets each field of a frozen one through
`object.__setattr__`, which takes three times as long, and the service makes some two hundred for a job.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - for mypy: it is exported
else:

    def dataclass(cls: Any = None, /, *, frozen: bool = False, **options: bool) -> Any:
        """The standard library's decorator; what should be frozen is only hashable."""
        return dataclasses.dataclass(cls, unsafe_hash=frozen, **options)
