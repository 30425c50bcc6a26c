"""Training a reader: `qa train reader` and `qa distill`."""
