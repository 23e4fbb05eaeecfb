"""The simulator's time: real, faster than real, or moved only by hand. It also writes and reads the
vendor's zone-less GMT+8 times. It never sleeps.
"""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import formatdate

ZONE_HOURS = 8.0
VENDOR_ZONE = timezone(timedelta(hours=ZONE_HOURS))
_LIST_STAMP = "%Y%m%d%H%M%S"


class SimulatedClock:
    """Epoch seconds that run `speed` times as fast as the wall, or, when virtual, only by `advance`."""

    def __init__(
        self,
        *,
        speed: float = 1.0,
        virtual: bool = False,
        start: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not speed > 0:
            raise ValueError("speed must be above zero")
        self._factor = 0.0 if virtual else speed
        self._monotonic = monotonic
        self._origin = monotonic()
        self._start = time.time() if start is None else start
        self._advanced = 0.0

    def now(self) -> float:
        """Simulated epoch seconds."""
        return self._start + self._advanced + (self._monotonic() - self._origin) * self._factor

    def wall(self) -> float:
        """Real seconds since the simulator started; quotas and rates count with these."""
        return self._monotonic() - self._origin

    def real_seconds_until(self, moment: float) -> float:
        """How long `moment` is away on the wall if nobody advances; infinite when the clock stands still."""
        remaining = moment - self.now()
        if remaining <= 0:
            return 0.0
        return remaining / self._factor if self._factor else math.inf

    def advance(self, seconds: float) -> float:
        """Move forward (in any mode) and give the new time; going back raises ValueError."""
        if not 0 <= seconds < 1e12:
            raise ValueError("advance_seconds must be zero or more")
        self._advanced += seconds
        return self.now()


def vendor_time(epoch_seconds: float, zone_hours: float = ZONE_HOURS) -> str:
    """`YYYY-MM-DD HH:MM:SS.mmm` without a zone, in GMT+8 unless told, as task answers carry it."""
    millis = round(epoch_seconds * 1000)
    zone = timezone(timedelta(hours=zone_hours))
    moment = datetime.fromtimestamp(millis // 1000, UTC).astimezone(zone)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{millis % 1000:03d}"


def read_list_stamp(stamp: str, zone_hours: float = ZONE_HOURS) -> float:
    """Epoch seconds of a list filter's `YYYYMMDDhhmmss`, GMT+8 unless told; ValueError for anything else."""
    if len(stamp) != 14 or not (stamp.isascii() and stamp.isdigit()):
        raise ValueError(f"not YYYYMMDDhhmmss: {stamp[:40]!r}")
    return (
        datetime.strptime(stamp, _LIST_STAMP)
        .replace(tzinfo=timezone(timedelta(hours=zone_hours)))
        .timestamp()
    )


def result_folder(epoch_seconds: float) -> str:
    """`yyyymmdd/HH%3AMM` as it stands, percent-escaped, in result URLs."""
    moment = datetime.fromtimestamp(epoch_seconds, UTC).astimezone(VENDOR_ZONE)
    return f"{moment:%Y%m%d}/{moment:%H}%3A{moment:%M}"


def http_date(epoch_seconds: float) -> str:
    """The value of a `Date` header."""
    return formatdate(epoch_seconds, usegmt=True)
