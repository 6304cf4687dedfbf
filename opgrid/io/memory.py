"""Values that stay where they are: handed from step to step inside one process."""

from __future__ import annotations

from typing import Any

from opgrid.contracts.tasks import OutputRef
from opgrid.io.context import InputContext, OutputContext
from opgrid.io.manager import IOManager


class InMemoryIOManager(IOManager):
    """Nothing is copied: a consumer that changes a value changes it for the others too."""

    #: A step in another process would find nothing; refused before the run starts.
    crosses_processes = False

    def __init__(self) -> None:
        self.values: dict[tuple[object, ...], Any] = {}

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        self.values[_key(context.output_ref)] = obj

    def load_input(self, context: InputContext) -> Any:
        try:
            return self.values[_key(context.output_ref)]
        except KeyError:
            raise LookupError(
                f"The value of {'/'.join(context.get_identifier())} was kept in the memory of a process that is "
                "gone, or of another one. Use the filesystem or Redis IO manager to keep values longer."
            ) from None


def _key(ref: OutputRef) -> tuple[object, ...]:
    return ref.run_id, ref.step, ref.output, ref.mapping_key, ref.attempt, ref.claim
