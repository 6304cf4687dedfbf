"""Where measurements go: a SQLite database. Writing a day again changes nothing, so that a step may run twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from examples.weather_etl.station import Measurement
from opgrid import ConfigurableResource

_TABLES = """
create table if not exists days (day text primary key, rain real, high real, low real, wind real);
create table if not exists records (what text primary key, day text, value real);
create table if not exists alerts (run_id text primary key, partition text, reason text);
"""


class Warehouse(ConfigurableResource):
    path: str = "weather.db"

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """In one transaction."""
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=30)) as connection:
            connection.executescript(_TABLES)
            with connection:
                yield connection

    def put(self, days: Iterable[Measurement]) -> None:
        rows = [(each.day, each.rain, each.high, each.low, each.wind) for each in days]
        with self.opened() as connection:
            connection.executemany("insert or replace into days values (?, ?, ?, ?, ?)", rows)

    def count(self) -> int:
        with self.opened() as connection:
            (found,) = connection.execute("select count(*) from days").fetchone()
            return int(found)
