"""Training a judge: `qa train judge`."""
