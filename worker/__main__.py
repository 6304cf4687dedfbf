"""``python -m worker start``: what ``opgrid worker start`` does, where a process of ours starts one."""

from __future__ import annotations

from worker.cli import worker

if __name__ == "__main__":
    worker(prog_name="opgrid worker")
