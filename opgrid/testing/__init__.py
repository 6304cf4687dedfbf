"""For tests of user code and of new executors and IO managers: contexts to call things with, fakes, and the published
contract suites.

Import a suite from its module: ``opgrid.testing.executors`` and ``opgrid.testing.io_managers`` need pytest.
"""

from __future__ import annotations

from opgrid.testing.fakes import FakeClock, RecordingSink

__all__ = ["FakeClock", "RecordingSink"]
