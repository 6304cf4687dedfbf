"""Where steps run: in this process, in local processes, or on Celery workers."""
