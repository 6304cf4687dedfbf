"""The API and the web pages: they show what is stored, ask code locations, and hold no user code."""
