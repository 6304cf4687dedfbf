"""A census of the Python standard library: about a thousand files, a step each."""
