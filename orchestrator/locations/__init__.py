"""Code locations: user code in processes of its own, loaded, asked and reloaded from here."""
