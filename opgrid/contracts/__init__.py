"""The sentences that the parts of opgrid say to each other. Import from the modules below."""
