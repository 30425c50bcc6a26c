"""`qa annotate`: people mark answers in reviews. docs/annotation.md says how."""
