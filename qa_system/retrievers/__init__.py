"""Retrievers: BM25, dense, and what joins them."""
