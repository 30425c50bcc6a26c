"""Commands about embeddings."""
