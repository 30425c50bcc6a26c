"""The sentences of the embedded store: their files, and how they are searched."""
