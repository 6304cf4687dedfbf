"""Where measurements come from: a weather station, which gives a file of days."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from opgrid import Config, ConfigurableResource

DATA = Path(__file__).with_name("data") / "seattle.csv"


class Measurement(Config):
    """A day: mm, °C, °C, m/s."""

    day: str
    rain: float
    high: float
    low: float
    wind: float

    @property
    def problem(self) -> str | None:
        """Why this cannot be; None for what can."""
        if self.low > self.high:
            return f"{self.day}: the lowest temperature, {self.low}, is above the highest, {self.high}"
        if not 0 <= self.rain < 500:
            return f"{self.day}: {self.rain} mm of rain"
        if not -60 < self.low <= self.high < 60:
            return f"{self.day}: from {self.low} to {self.high} °C"
        return None


class Station(ConfigurableResource):
    """A CSV file with the columns date, precipitation, temp_max, temp_min, wind."""

    path: str = str(DATA)

    def days(self, start: date, end: date) -> Iterator[Measurement]:
        """From ``start`` until before ``end``."""
        with open(self.path, newline="") as file:
            for row in csv.DictReader(file):
                if start.isoformat() <= row["date"] < end.isoformat():
                    yield Measurement(
                        day=row["date"],
                        rain=float(row["precipitation"]),
                        high=float(row["temp_max"]),
                        low=float(row["temp_min"]),
                        wind=float(row["wind"]),
                    )
