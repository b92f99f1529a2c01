"""The table of a zone, against Python's zoneinfo."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from sekisho.wire.zones import to_utc, zone

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
US = timedelta(microseconds=1)


@pytest.mark.parametrize(
    "name", ["UTC", "Asia/Tokyo", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca"]
)
def test_a_local_time_is_what_zoneinfo_says(name: str) -> None:
    """Anywhere from 1970 to 2200, and around every change of the clocks; of two readings the later one counts."""
    table, info, rng = zone(name), ZoneInfo(name), random.Random(31)
    hour = 3_600_000_000
    times = [rng.randrange(hour * 24, 7_289_000_000_000_000) for _ in range(300)]
    times += [int(start) + shift for start in table.starts for shift in (-25 * hour, -hour // 2, -1, 0, 1, hour // 2)]
    for local_us in times:
        local = datetime(1970, 1, 1) + timedelta(microseconds=local_us)
        readings = [local.replace(tzinfo=info, fold=fold) - EPOCH for fold in (0, 1)]
        assert to_utc.py_func(local_us, table.starts, table.offsets) == max(readings) // US  # type: ignore[attr-defined]
