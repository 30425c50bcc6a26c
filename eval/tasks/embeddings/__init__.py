"""Vectors measured on a task, and drawn as a map."""
