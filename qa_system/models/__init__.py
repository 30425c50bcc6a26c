"""Models: where a name leads, how checkpoints, tokenizers and sessions are loaded and shared."""
