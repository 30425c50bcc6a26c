"""Training models: a room for each kind of model, on common ground."""
