"""Search among the sentences of an index: all that a filter selects, or those of candidates."""
