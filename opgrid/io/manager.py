"""What stores outputs and loads inputs: the interfaces that users implement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from opgrid.contracts.tasks import OutputRef
from opgrid.io.context import InputContext, OutputContext
from opgrid.io.setup import IOSetup


class InputManager(ABC):
    """Loads an input: ``In(input_manager_key=...)``."""

    @abstractmethod
    def load_input(self, context: InputContext) -> Any: ...


class IOManager(InputManager):
    """Stores each output where it will find it again when a later step asks for it, in whatever process that step runs.

    ``context.get_identifier()`` is the same for the writer and all readers. A manager that is safe against two
    attempts at one step writes under ``context.ref.attempt`` and ``context.ref.claim`` too, as the built-in ones do.
    """

    #: False: values stay in the memory of one process, so that executors with several refuse it before a run starts.
    crosses_processes: ClassVar[bool] = True

    @abstractmethod
    def handle_output(self, context: OutputContext, obj: Any) -> None: ...


@runtime_checkable
class ReadsAhead(Protocol):
    """A manager that is quicker when it reads many values at once."""

    def read_ahead(self, io: IOSetup, refs: Sequence[OutputRef]) -> Mapping[int, Any]:
        """The values that it has at hand now, by their places; ``load_input`` is going to be called for the others.
        Takes the place of what was read ahead before.
        """
