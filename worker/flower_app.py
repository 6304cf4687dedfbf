"""The Celery application that Flower looks at: a broker, and none of our tasks."""

from __future__ import annotations

from celery import Celery

from opgrid.broker.connection import broker_url
from opgrid.broker.keys import Keys
from worker.app import broker_conf

app = Celery("opgrid", set_as_current=False)
app.conf.update(broker_conf(broker_url() or "redis://127.0.0.1:6379/0", Keys.load(), "flower"))
