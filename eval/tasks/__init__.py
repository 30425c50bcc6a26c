"""Evaluations, one for each task: a data set and a system in, a run out."""
