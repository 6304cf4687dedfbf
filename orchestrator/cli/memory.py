"""How often the processes of the service look for garbage."""

from __future__ import annotations

import gc


def collect_rarely() -> None:
    """To be called when everything is loaded: what is there by now stays, and looking through it, or through the state
    of runs and the rows of pages, again and again took up to a third of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
