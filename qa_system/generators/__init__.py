"""Generators: a question and documents in, answers in a model's own words out."""
