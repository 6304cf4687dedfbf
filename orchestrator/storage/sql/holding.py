"""What holds steps back, in SQL: pools and their slots, and what is to be approved."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, select, text, update

from opgrid.ids import RunId, StepKey
from orchestrator.engine.gates import Gate
from orchestrator.engine.pools import Slot
from orchestrator.storage.protocols import Fence, Taker
from orchestrator.storage.sql.database import Database
from orchestrator.storage.sql.lines import Lines
from orchestrator.storage.sql.statements import as_json
from orchestrator.storage.sql.tables import OPEN, gates, pools, runs, slots
from orchestrator.storage.sql.turn import SqlTurn

#: Always in the same order, so that nobody waits for each other.
_LOCK_POOLS = text(
    "SELECT pg_advisory_xact_lock(7305982, key) FROM (SELECT DISTINCT hashtext(name) AS key "
    "FROM json_array_elements_text(CAST(:names AS json)) AS name ORDER BY key) AS pools"
)
_ASKED = ("run_id", "step", "question", "since", "due")


class HoldingTables(Database):
    # ---- pools -----------------------------------------------------------------------------------------------------

    def pools(self) -> dict[str, int]:
        """Slots by name."""
        return {row.name: row.slots for row in self._all(select(pools).order_by(pools.c.name))}

    def set_pool(self, name: str, slots: int | None) -> None:
        """None: no limit any more."""
        with self._writing() as connection:
            if slots is None:
                connection.execute(delete(pools).where(pools.c.name == name))
            else:
                self._statements.upsert_pool(connection, {"name": name, "slots": slots})

    def take_slots(self, wanted: Mapping[Slot, int], by: Taker | None = None) -> set[Slot]:
        """Those that there was room for, in this order, or that were taken before. A pool without a limit has room."""
        if self.pooling.granularity == "run":
            return set(wanted)
        with self._writing() as connection:
            self._check(connection, by.only if by is not None else None)
            names = sorted({slot.pool for slot in wanted})
            limits = self._limits_of(connection, names)
            used = select(slots.c.pool, slots.c.run_id, slots.c.step).where(slots.c.pool.in_(names))
            used = used.join(runs, runs.c.run_id == slots.c.run_id).where(runs.c.status.in_(OPEN))
            taken = {Slot(row.pool, RunId(row.run_id), StepKey(row.step)) for row in connection.execute(used)}
            in_use = Counter(slot.pool for slot in taken)
            room = {pool: limit - in_use[pool] for pool, limit in limits.items()}
            asked = {slot: priority for slot, priority in wanted.items() if slot.pool in room and slot not in taken}
            refused: set[Slot] = set()
            if room:
                line = Lines(
                    connection, list(room), by.name if by is not None else "", self._clock_of_leases(connection)
                )
                refused = asked.keys() - line.served(asked, room)
            granted = wanted.keys() - refused
            new = [slot for slot in granted if slot not in taken]
            if new:
                now = time.time()
                rows = ({"run_id": run_id, "step": step, "pool": pool, "since": now} for pool, run_id, step in new)
                self._statements.add_slot(connection, *rows)
        return granted

    def _limits_of(self, connection: Connection, names: Sequence[str]) -> dict[str, int]:
        """Nobody else takes slots of these pools until the transaction ends."""
        otherwise = self.pooling.default_limit
        if otherwise is not None and connection.dialect.name == "postgresql":  # those without a row to lock, too
            connection.execute(_LOCK_POOLS, {"names": as_json(names)})
        query = select(pools).where(pools.c.name.in_(names)).order_by(pools.c.name).with_for_update()
        limits = {row.name: row.slots for row in connection.execute(query)}
        return limits if otherwise is None else {**dict.fromkeys(names, otherwise), **limits}

    def free_slots(self, given: Sequence[Slot]) -> None:
        if not given:
            return
        with self._writing() as connection:
            self._statements.free_slot(connection, *({"of": slot.run_id, "whose": slot.step} for slot in given))

    def keep_slots(self, run_id: RunId, steps: Collection[StepKey], only: Fence | None = None) -> None:
        """Free those of all other steps of the run."""
        with self._writing() as connection:
            self._check(connection, only)
            connection.execute(delete(slots).where(slots.c.run_id == run_id, slots.c.step.not_in(list(steps))))

    def _check(self, connection: Connection, only: Fence | None) -> None:
        """The lease is held until the transaction ends."""
        if only is not None:
            turn = SqlTurn(connection, self._statements)
            only(turn)
            turn.write()

    def used_slots(self) -> dict[str, list[Slot]]:
        """By pool, of runs that go on; oldest first."""
        query = select(slots).join(runs, runs.c.run_id == slots.c.run_id).where(runs.c.status.in_(OPEN))
        found: dict[str, list[Slot]] = {}
        for row in self._all(query.order_by(slots.c.since, slots.c.step)):
            found.setdefault(row.pool, []).append(Slot(row.pool, RunId(row.run_id), StepKey(row.step)))
        return found

    # ---- approvals -------------------------------------------------------------------------------------------------

    def open_gates(self, given: Sequence[Gate]) -> list[Gate]:
        known = {(gate.run_id, gate.step): gate for gate in self.gates([gate.run_id for gate in given])}
        new = [gate for gate in given if (gate.run_id, gate.step) not in known]
        if new:
            with self._writing() as connection:
                rows = ({name: getattr(gate, name) for name in _ASKED} for gate in new)
                self._statements.add_gate(connection, *rows)
        return [known.get((gate.run_id, gate.step), gate) for gate in given]

    def decide(self, run_id: RunId, step: StepKey, approved: bool, who: str, note: str) -> bool:
        open_ = (gates.c.run_id == run_id, gates.c.step == step, gates.c.approved.is_(None))
        values = {"approved": int(approved), "who": who, "note": note}
        with self._writing() as connection:
            return connection.execute(update(gates).where(*open_).values(**values)).rowcount == 1

    def gates(self, run_ids: Sequence[RunId]) -> list[Gate]:
        query = select(gates).where(gates.c.run_id.in_(sorted(set(run_ids)))).order_by(gates.c.since, gates.c.step)
        return [_gate(row) for row in self._all(query)]

    def waiting_gates(self) -> list[Gate]:
        query = select(gates).join(runs, runs.c.run_id == gates.c.run_id)
        query = query.where(gates.c.approved.is_(None), runs.c.status.in_(OPEN))
        return [_gate(row) for row in self._all(query.order_by(gates.c.since, gates.c.step))]


def _gate(row: Any) -> Gate:
    approved = None if row.approved is None else bool(row.approved)
    return Gate(
        RunId(row.run_id), StepKey(row.step), row.question, row.since, row.due, approved, row.who or "", row.note or ""
    )
