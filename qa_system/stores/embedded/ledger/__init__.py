"""The truth of the embedded store: SQLite holds reviews, metadata and embeddings."""
