"""The Celery process that runs steps and reports what became of them."""
