"""The Celery application that Flower looks at: a broker, and none of our tasks. As a program it is Celery's own command
line, which finds it also where the current folder has a ``worker``, too: ours is loaded by then.
"""

from __future__ import annotations

import sys

from celery import Celery
from celery.bin.celery import celery

from opgrid.broker.connection import broker_url
from opgrid.broker.keys import Keys
from worker.app import broker_conf

app = Celery("opgrid", set_as_current=False)
app.conf.update(broker_conf(broker_url() or "redis://127.0.0.1:6379/0", Keys.load(), "flower"))

if __name__ == "__main__":
    celery.main(["-A", "worker.flower_app", *sys.argv[1:]])
