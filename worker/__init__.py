"""The Celery process that runs steps. Imports ``opgrid`` only."""
