"""Training a ranker: `qa train ranker`."""
