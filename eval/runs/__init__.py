"""Runs: rows, summaries, tests of significance, comparisons, storage."""
