"""Versions of an index: names, promotion, and another encoder for the next one."""
