"""Attributes of a catalogue's items, read out of their reviews without any label."""
