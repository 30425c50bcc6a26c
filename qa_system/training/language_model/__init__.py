"""Training a language model on reviews: `qa train language-model`."""
