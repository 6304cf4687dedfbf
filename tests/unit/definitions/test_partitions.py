"""Keys and windows of partitions definitions."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from opgrid.definitions.partitions import (
    DailyPartitionsDefinition,
    DynamicPartitionsDefinition,
    HourlyPartitionsDefinition,
    MonthlyPartitionsDefinition,
    MultiPartitionKey,
    MultiPartitionsDefinition,
    Partition,
    PartitionKeyRange,
    PartitionsDefinition,
    ScheduleType,
    StaticPartitionsDefinition,
    TimeWindow,
    TimeWindowPartitionsDefinition,
    WeeklyPartitionsDefinition,
)
from opgrid.errors import InvalidDefinitionError, InvariantViolationError, UnknownPartitionError


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


class Store:
    def __init__(self, **keys: list[str]) -> None:
        self.keys = keys

    def get_dynamic_partitions(self, partitions_def_name: str) -> list[str]:
        return self.keys.get(partitions_def_name, [])


# ---- static ----


def test_static_keys_keep_their_order() -> None:
    regions = StaticPartitionsDefinition(["us", "eu", "asia"])
    assert regions.get_partition_keys() == ["us", "eu", "asia"]
    assert regions.get_partition_keys_in_range(PartitionKeyRange("eu", "asia")) == ["eu", "asia"]
    assert (regions.get_first_partition_key(), regions.get_last_partition_key()) == ("us", "asia")


@pytest.mark.parametrize("keys", ["us", ["us", "us"], [1], [""], ["a...b"], ["a\nb"], ["a\0b"], ["x" * 256]])
def test_static_keys_are_checked(keys: list[str]) -> None:
    with pytest.raises(InvalidDefinitionError, match="StaticPartitionsDefinition"):
        StaticPartitionsDefinition(keys)


def test_unknown_key_names_the_nearest() -> None:
    with pytest.raises(UnknownPartitionError, match=r"no partition 'asiaa'\. Did you mean 'asia'\?"):
        StaticPartitionsDefinition(["us", "eu", "asia"]).validate_partition_key("asiaa")


def test_range_that_runs_backwards() -> None:
    with pytest.raises(InvariantViolationError, match="backwards"):
        StaticPartitionsDefinition(["a", "b"]).get_partition_keys_in_range(PartitionKeyRange("b", "a"))


# ---- in time ----


@pytest.mark.parametrize(
    ("partitions", "now", "keys"),
    [
        (
            HourlyPartitionsDefinition("2024-01-01-00:00"),
            utc(2024, 1, 1, 2, 30),
            ["2024-01-01-00:00", "2024-01-01-01:00"],
        ),
        (
            HourlyPartitionsDefinition("2024-01-01-00:00", minute_offset=15),
            utc(2024, 1, 1, 1, 15),
            ["2024-01-01-00:15"],
        ),
        (DailyPartitionsDefinition("2024-01-01"), utc(2024, 1, 3), ["2024-01-01", "2024-01-02"]),
        (DailyPartitionsDefinition("2024-01-01"), utc(2024, 1, 2, 23, 59), ["2024-01-01"]),
        (DailyPartitionsDefinition("2024-01-01"), utc(2024, 1, 1, 12), []),
        (DailyPartitionsDefinition("2024-01-01", hour_offset=16), utc(2024, 1, 2, 15), []),
        (DailyPartitionsDefinition("2024-01-01", hour_offset=16), utc(2024, 1, 2, 16), ["2024-01-01"]),
        (DailyPartitionsDefinition("2024/01/01", fmt="%Y/%m/%d"), utc(2024, 1, 2), ["2024/01/01"]),
        (WeeklyPartitionsDefinition("2024-01-01"), utc(2024, 1, 22), ["2024-01-07", "2024-01-14"]),
        (WeeklyPartitionsDefinition("2024-01-01", day_offset=1), utc(2024, 1, 15), ["2024-01-01", "2024-01-08"]),
        (MonthlyPartitionsDefinition("2024-01-01"), utc(2024, 3, 15), ["2024-01-01", "2024-02-01"]),
        (MonthlyPartitionsDefinition("2024-01-01", day_offset=15), utc(2024, 3, 15), ["2024-01-15", "2024-02-15"]),
        (DailyPartitionsDefinition("2024-01-01", timezone="America/New_York"), utc(2024, 1, 2, 4), []),
        (DailyPartitionsDefinition("2024-01-01", timezone="America/New_York"), utc(2024, 1, 2, 5), ["2024-01-01"]),
        (
            DailyPartitionsDefinition(datetime(2024, 1, 1, 12), end_date="2024-01-04"),
            utc(2025, 1, 1),
            ["2024-01-02", "2024-01-03"],
        ),
        (
            TimeWindowPartitionsDefinition("2024-01-01-00", "%Y-%m-%d-%H", cron_schedule="0 6,18 * * *"),
            utc(2024, 1, 2, 6),
            ["2024-01-01-06", "2024-01-01-18"],
        ),
    ],
)
def test_closed_windows(partitions: PartitionsDefinition, now: datetime, keys: list[str]) -> None:
    assert partitions.get_partition_keys(now) == keys
    assert partitions.get_last_partition_key(now) == (keys[-1] if keys else None)
    assert partitions.get_first_partition_key(now) == (keys[0] if keys else None)
    assert all(partitions.has_partition_key(key, now) for key in keys)


@pytest.mark.parametrize(
    ("offset", "now", "keys"),
    [
        (1, utc(2024, 1, 3, 12), ["2024-01-01", "2024-01-02", "2024-01-03"]),
        (2, utc(2024, 1, 3), ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"]),
        (-1, utc(2024, 1, 3, 12), ["2024-01-01"]),
        (-5, utc(2024, 1, 3, 12), []),
        (1, utc(2024, 1, 1, 12), ["2024-01-01"]),
        (1, utc(2023, 12, 30), []),  # the window that is open then lies before the first
        (3, utc(2023, 12, 30), ["2024-01-01"]),
        (9, utc(2024, 1, 9), [f"2024-01-0{day}" for day in range(1, 10)]),  # never beyond the end
        (1, utc(2024, 5, 1), [f"2024-01-0{day}" for day in range(1, 10)]),
    ],
)
def test_end_offset(offset: int, now: datetime, keys: list[str]) -> None:
    partitions = DailyPartitionsDefinition("2024-01-01", end_date="2024-01-10", end_offset=offset)
    assert partitions.get_partition_keys(now) == keys
    assert partitions.get_last_partition_key(now) == (keys[-1] if keys else None)


def test_exclusions_by_cron_and_by_date() -> None:
    workdays = DailyPartitionsDefinition("2024-01-01", exclusions=["0 0 * * 0,6", datetime(2024, 1, 3)])
    now = utc(2024, 1, 9)
    assert workdays.get_partition_keys(now) == ["2024-01-01", "2024-01-02", "2024-01-04", "2024-01-05", "2024-01-08"]
    assert not workdays.has_partition_key("2024-01-06", now)
    assert workdays.get_last_partition_key(utc(2024, 1, 8)) == "2024-01-05"


def test_windows_are_those_of_the_zone() -> None:
    partitions = DailyPartitionsDefinition("2024-03-30", timezone="Europe/Berlin")
    window = partitions.time_window_for_partition_key("2024-03-31")
    assert window.end.astimezone(UTC) - window.start.astimezone(UTC) == timedelta(hours=23)
    zone = ZoneInfo("Europe/Berlin")
    assert window == TimeWindow(datetime(2024, 3, 31, tzinfo=zone), datetime(2024, 4, 1, tzinfo=zone))


def test_hours_that_the_clock_shows_twice_have_keys_of_their_own() -> None:
    partitions = HourlyPartitionsDefinition("2024-11-03-00:00", timezone="America/New_York")
    keys = partitions.get_partition_keys(utc(2024, 11, 3, 8))
    assert keys == ["2024-11-03-00:00", "2024-11-03-01:00", "2024-11-03-01:00-0500", "2024-11-03-02:00"]
    starts = [partitions.time_window_for_partition_key(key).start.astimezone(UTC) for key in keys]
    assert starts == [utc(2024, 11, 3, hour) for hour in (4, 5, 6, 7)]


def test_key_for_a_moment() -> None:
    partitions = DailyPartitionsDefinition("2024-01-01", hour_offset=6)
    assert partitions.get_partition_key_for_timestamp(utc(2024, 1, 3, 5)) == "2024-01-02"
    assert partitions.get_partition_key_for_timestamp(utc(2023, 1, 3, 5)) is None


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("2024-01-05", "yet: its window ends at 2024-01-06"),
        ("2023-12-31", "The first one is '2024-01-01'"),
        ("yesterday", "Keys are in the format '%Y-%m-%d'"),
    ],
)
def test_unknown_day(key: str, says: str) -> None:
    with pytest.raises(UnknownPartitionError) as raised:
        DailyPartitionsDefinition("2024-01-01").validate_partition_key(key, utc(2024, 1, 5, 3))
    assert says in str(raised.value)
    assert "2024-01-04" in str(raised.value)


def test_keys_that_have_an_offset() -> None:
    partitions = DailyPartitionsDefinition(datetime(2024, 1, 1), fmt="%Y-%m-%dT%H:%M%z", timezone="Europe/Berlin")
    now = utc(2024, 1, 3)
    assert partitions.get_partition_keys(now) == ["2024-01-01T00:00+0100", "2024-01-02T00:00+0100"]
    assert partitions.has_partition_key("2024-01-02T00:00+0100", now)
    with pytest.raises(UnknownPartitionError, match="Keys are in the format"):
        partitions.validate_partition_key("2024-01-02", now)


def test_unknown_week_names_the_nearest() -> None:
    with pytest.raises(UnknownPartitionError, match="Did you mean '2024-01-07'"):
        WeeklyPartitionsDefinition("2024-01-01").validate_partition_key("2024-01-08", utc(2024, 3, 1))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: DailyPartitionsDefinition("01.02.2024"), "in the format '%Y-%m-%d', such as '2024-01-31'"),
        (lambda: DailyPartitionsDefinition("2024-01-01", timezone="Europe/Berln"), "Did you mean 'Europe/Berlin'"),
        (
            lambda: DailyPartitionsDefinition("2024-01-01", hour_offset=24),
            "hour_offset=24: it has to be a whole number",
        ),
        (lambda: WeeklyPartitionsDefinition("2024-01-01", day_offset=7), "from 0 to 6"),
        (lambda: MonthlyPartitionsDefinition("2024-01-01", day_offset=0), "from 1 to 31"),
        (lambda: DailyPartitionsDefinition("2024-02-01", end_date="2024-01-01"), "before it starts"),
        (lambda: TimeWindowPartitionsDefinition("2024-01-01", "%Y-%m-%d"), "either cron_schedule= or schedule_type="),
        (
            lambda: TimeWindowPartitionsDefinition("2024-01-01", "%Y-%m-%d", cron_schedule="0 25 * * *"),
            "hour is not valid",
        ),
        (
            lambda: TimeWindowPartitionsDefinition("2024-01-01", "%Y-%m-%d", cron_schedule="@daily", hour_offset=2),
            "put these into the expression",
        ),
    ],
)
def test_bad_windows_say_the_way_out(make: Callable[[], object], says: str) -> None:
    with pytest.raises(InvalidDefinitionError) as raised:
        make()
    assert says in str(raised.value)


def test_cron_for_the_window_that_has_just_ended() -> None:
    assert DailyPartitionsDefinition("2024-01-01", hour_offset=2).get_cron_schedule() == "0 2 * * *"
    assert DailyPartitionsDefinition("2024-01-01").get_cron_schedule(30, 5) == "30 5 * * *"
    assert WeeklyPartitionsDefinition("2024-01-01").get_cron_schedule(day_of_week=3) == "0 0 * * 3"
    assert MonthlyPartitionsDefinition("2024-01-01").get_cron_schedule(day_of_month=3) == "0 0 3 * *"
    with pytest.raises(InvalidDefinitionError, match="hour_of_day=3 does not go with hourly partitions"):
        HourlyPartitionsDefinition("2024-01-01-00:00").get_cron_schedule(hour_of_day=3)


def test_defining_many_costs_nothing_and_listing_them_little() -> None:
    began = time.process_time()
    partitions = HourlyPartitionsDefinition("2010-01-01-00:00", timezone="Europe/Berlin")
    assert time.process_time() - began < 0.05
    now = utc(2024, 1, 1)
    assert partitions.has_partition_key("2023-12-31-23:00", now)
    assert partitions._starts == ()
    assert partitions.get_num_partitions(now) == (14 * 365 + 3) * 24 + 1  # Berlin is an hour ahead
    assert pickle.loads(pickle.dumps(partitions)) == partitions


def test_equal_windows_are_equal() -> None:
    assert DailyPartitionsDefinition("2024-01-01") == DailyPartitionsDefinition(datetime(2024, 1, 1))
    assert DailyPartitionsDefinition("2024-01-01") != DailyPartitionsDefinition("2024-01-02")
    weekly = TimeWindowPartitionsDefinition("2024-01-01", "%Y-%m-%d", schedule_type=ScheduleType.WEEKLY)
    assert weekly == WeeklyPartitionsDefinition("2024-01-01")


# ---- dynamic ----


def test_dynamic_keys_come_from_the_instance() -> None:
    files = DynamicPartitionsDefinition(name="files")
    store = Store(files=["a.csv", "b.csv"])
    assert files.get_partition_keys(dynamic_partitions_store=store) == ["a.csv", "b.csv"]
    with pytest.raises(UnknownPartitionError, match=r"add_dynamic_partitions\('files', \['c.csv'\]\)"):
        files.validate_partition_key("c.csv", dynamic_partitions_store=store)
    with pytest.raises(InvariantViolationError, match="dynamic_partitions_store=instance"):
        files.get_partition_keys()
    assert files.build_add_request(["c.csv"]).partition_keys == ("c.csv",)


def test_dynamic_keys_from_a_function_of_the_time() -> None:
    def years(now: datetime | None) -> list[object]:
        assert now is not None
        return ["first", Partition(str(now.year), now.year)]

    partitions = DynamicPartitionsDefinition(years)
    assert partitions.get_partition_keys(utc(2024, 5, 1)) == ["first", "2024"]


def test_dynamic_takes_one_of_both() -> None:
    with pytest.raises(InvalidDefinitionError, match="either name="):
        DynamicPartitionsDefinition()
    with pytest.raises(InvalidDefinitionError, match="has no name"):
        DynamicPartitionsDefinition(lambda _: []).build_add_request(["a"])


# ---- several dimensions ----


@pytest.fixture
def sales() -> MultiPartitionsDefinition:
    return MultiPartitionsDefinition(
        {"region": StaticPartitionsDefinition(["us", "eu"]), "date": DailyPartitionsDefinition("2024-01-01")}
    )


def test_dimensions_are_sorted_by_name(sales: MultiPartitionsDefinition) -> None:
    now = utc(2024, 1, 3)
    assert sales.get_partition_keys(now) == ["2024-01-01|us", "2024-01-01|eu", "2024-01-02|us", "2024-01-02|eu"]
    assert sales.get_num_partitions(now) == 4
    area = MultiPartitionKey({"date": "2024-01-01", "area": "us"})
    assert area == "us|2024-01-01"
    assert area.keys_by_dimension == {"area": "us", "date": "2024-01-01"}
    again = pickle.loads(pickle.dumps(area))
    assert (again, again.keys_by_dimension) == (area, area.keys_by_dimension)


def test_multi_key_from_a_string(sales: MultiPartitionsDefinition) -> None:
    now = utc(2024, 1, 3)
    assert sales.has_partition_key("2024-01-02|eu", now)
    assert not sales.has_partition_key("eu|2024-01-02", now)
    assert sales.get_partition_key_from_str("2024-01-02|eu").keys_by_dimension == {"date": "2024-01-02", "region": "eu"}
    assert sales.time_window_for_partition_key("2024-01-02|eu") == TimeWindow(utc(2024, 1, 2), utc(2024, 1, 3))
    assert sales.get_tags_for_partition_key("2024-01-02|eu") == {
        "opgrid/partition": "2024-01-02|eu",
        "opgrid/partition/date": "2024-01-02",
        "opgrid/partition/region": "eu",
    }


def test_unknown_multi_key_says_which_dimension(sales: MultiPartitionsDefinition) -> None:
    with pytest.raises(UnknownPartitionError, match=r"dimension 'region' has no 'uss'\. Did you mean 'us'"):
        sales.validate_partition_key("2024-01-01|uss", utc(2024, 1, 3))
    with pytest.raises(UnknownPartitionError, match=r"<date>\|<region>"):
        sales.validate_partition_key("us", utc(2024, 1, 3))


def test_multi_needs_two_plain_dimensions(sales: MultiPartitionsDefinition) -> None:
    with pytest.raises(InvalidDefinitionError, match="two or more"):
        MultiPartitionsDefinition({"a": StaticPartitionsDefinition(["x"])})
    with pytest.raises(InvalidDefinitionError, match="one dimension"):
        MultiPartitionsDefinition({"a": StaticPartitionsDefinition(["x"]), "b": sales})
