"""A code location in this process."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from opgrid.contracts.events import ErrorInfo
from opgrid.contracts.tasks import CodeTarget
from orchestrator.instance import Instance
from orchestrator.locations.messages import Answer, Asked, Describe, Described, Failed, LocationInfo
from orchestrator.services.evaluation import Evaluator
from orchestrator.storage.service_protocols import ServiceStore


class Here:
    """``mortal`` is called around each answer, and may raise."""

    def __init__(self, store: ServiceStore, code: CodeTarget, mortal: Callable[[], None] = lambda: None) -> None:
        self.name = code.location
        self._evaluator = Evaluator(self.name, code, lambda: Instance(store))
        self._mortal = mortal
        self.info: LocationInfo = self._described()
        self.loaded: float | None = 0.0
        self.error: ErrorInfo | None = None

    def _described(self) -> LocationInfo:
        found = self._evaluator(Describe())
        assert isinstance(found, Described)
        return found.info

    def ask(self, asked: Asked, timeout: float, apart: bool = False) -> Answer:
        self._mortal()
        try:
            answer = self._evaluator(asked)
        except Exception as error:
            answer = Failed(ErrorInfo.of(error))
        self._mortal()
        return answer

    def submit(self, work: Callable[[], None], lane: str) -> Future[None]:
        done: Future[None] = Future()
        work()
        done.set_result(None)
        return done
