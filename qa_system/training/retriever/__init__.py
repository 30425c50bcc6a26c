"""Training a retriever: `qa train retriever`."""
