"""The Celery application: how a broker that loses, repeats and delays messages is used so that it does not matter."""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu import Queue

from opgrid.broker.address import BrokerAddress
from opgrid.broker.connection import HEALTH_CHECK_INTERVAL, SOCKET_TIMEOUT, client_name
from opgrid.broker.keys import DEFAULT_QUEUE, PRIORITY_MARK, PRIORITY_STEPS, Keys
from worker.settings import WorkerSettings


def celery_app(settings: WorkerSettings) -> Celery:
    app = Celery("opgrid", set_as_current=False)
    app.conf.update(_conf(settings))
    return app


def broker_conf(url: str, keys: Keys, name: str) -> dict[str, Any]:
    """What every Celery client of ours needs: workers, and Flower."""
    return {
        "broker_url": BrokerAddress.parse(url).celery_url,
        "broker_transport_options": {
            "global_keyprefix": keys.celery,
            "priority_steps": list(PRIORITY_STEPS),
            "sep": PRIORITY_MARK,
            # Celery's own record of unacknowledged messages costs two transactions a message, and returns what a dead
            # worker held after hours. Claims say who runs what, and the coordinator sends again what nobody claimed.
            "ack_emulation": False,
            "socket_timeout": SOCKET_TIMEOUT,
            "socket_connect_timeout": SOCKET_TIMEOUT,
            "socket_keepalive": True,
            "health_check_interval": HEALTH_CHECK_INTERVAL,
            "retry_on_timeout": False,
            "max_connections": 20,
            "client_name": client_name(name),
        },
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "worker_enable_remote_control": True,
    }


def _conf(settings: WorkerSettings) -> dict[str, Any]:
    return {
        **broker_conf(settings.broker_url, Keys(settings.deployment), f"wk-{settings.name}"),
        # messages
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_backend": None,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_publish_retry": False,
        "task_default_queue": DEFAULT_QUEUE,
        "task_queues": [Queue(name, routing_key=name) for name in settings.queues],
        "task_create_missing_queues": False,
        # delivery: a message is acknowledged when its steps have ended; who may run them is decided by claims
        "task_acks_late": True,
        "task_acks_on_failure": True,
        "task_acks_on_timeout": True,
        "task_reject_on_worker_lost": False,
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_consumer": "worker.consumer:Consumer",
        # processes
        "worker_concurrency": settings.concurrency,
        "worker_max_tasks_per_child": settings.max_tasks_per_child,
        "worker_max_memory_per_child": settings.max_memory_per_child and settings.max_memory_per_child * 1024,
        "worker_proc_alive_timeout": 60.0,
        "worker_lost_wait": 1.0,
        # Flower
        "worker_send_task_events": True,
        "task_send_sent_event": False,
        # output is the user's own
        "worker_redirect_stdouts": False,
        "worker_hijack_root_logger": False,
        "task_track_started": False,
    }
