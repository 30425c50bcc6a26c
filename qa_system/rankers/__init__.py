"""Rankers: documents in, the same documents out, those that answer the question first."""
