"""Post-processing of embeddings: steps that are fitted, saved and applied to new texts."""
