"""`qa-eval explore`, `split`, `labels`, `convert`: data sets looked at, divided, kept, converted."""
