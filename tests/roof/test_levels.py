"""Time in target: exact, by linear interpolation, with nothing assumed outside the troughs."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from tacroweb.levels import TimeInTarget, time_in_target

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
LOW, HIGH = Fraction(5), Fraction(10)


def share(*troughs: tuple[int, str], days: int = 90) -> TimeInTarget | None:
    """Of troughs given as (days ago, ng/mL), oldest first."""
    return time_in_target(
        [(NOW - timedelta(days=ago), Fraction(level)) for ago, level in troughs],
        low=LOW,
        high=HIGH,
        since=NOW - timedelta(days=days),
        until=NOW,
    )


@pytest.mark.parametrize(
    ("troughs", "percent", "days"),
    [
        (((20, "7"), (10, "8")), 100, 10),
        (((20, "7"), (10, "7")), 100, 10),
        (((20, "12"), (10, "12")), 0, 10),
        # From 0 to 15 the line is between 5 and 10 for a third of the way, up or down.
        (((30, "0"), (0, "15")), 33, 30),
        (((30, "15"), (0, "0")), 33, 30),
        # From 7.5 to 12.5 it leaves the target half way.
        (((20, "7.5"), (10, "12.5")), 50, 10),
        # The ends of the target are inside it.
        (((20, "5"), (10, "10")), 100, 10),
        (((20, "10"), (10, "10")), 100, 10),
        (((20, "10.01"), (10, "10.01")), 0, 10),
        # The days between troughs weigh, not the number of troughs.
        (((40, "7"), (10, "7"), (8, "20"), (0, "20")), 76, 40),
    ],
)
def test_the_level_changes_evenly_between_two_troughs(troughs, percent, days):
    assert share(*troughs) == TimeInTarget(percent=percent, days=days)


def test_only_the_part_inside_the_window_counts():
    # 180 days from 0 to 15: in target from day 60 to 120, so 30 of the last 90 days.
    assert share((180, "0"), (0, "15")) == TimeInTarget(percent=33, days=90)
    assert share((180, "7"), (100, "7")) is None


def test_nothing_is_assumed_before_the_first_or_after_the_last_trough():
    assert share((5, "7")) is None
    assert share() is None
    assert share((60, "7"), (50, "7")) == TimeInTarget(percent=100, days=10)


def test_two_values_of_one_moment_take_no_time():
    assert share((10, "7"), (10, "30")) is None


def test_two_troughs_of_one_morning_tell_nothing_of_the_days():
    near = [(NOW - timedelta(minutes=20), Fraction(7)), (NOW, Fraction(8))]
    since = NOW - timedelta(days=90)
    assert time_in_target(near, low=LOW, high=HIGH, since=since, until=NOW) is None


def test_a_percentage_is_rounded_half_up():
    # In target for 1/200 of the way: 0.5 %.
    assert share((10, "10"), (0, "1010")) == TimeInTarget(percent=0, days=10)
    assert share((10, "9"), (0, "209")) == TimeInTarget(percent=1, days=10)
