"""Training a generator: `qa train generator`."""
