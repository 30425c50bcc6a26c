"""Digests: what an item's reviews say of its most mentioned aspects, kept ahead of time."""
