"""Research data sets as reviews and labels."""

__all__ = ["UNLOCATED"]

UNLOCATED = "unlocated_answers"
"""The key of `Label.meta` under which answers stand, as text, whose place in the review was not
found. A label with such answers and no others can be answered, but no span says where."""
