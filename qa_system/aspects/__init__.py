"""Aspects: what an item's reviews speak of, found in their own words, with what speaks for it."""
