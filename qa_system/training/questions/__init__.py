"""`qa questions`: labelled questions made for reviews that nobody has labelled."""
