"""opgrid: op jobs as Python functions, run in process, on local processes or on a Celery fleet."""
