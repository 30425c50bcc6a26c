"""The sentences of an index: where a filter selects few, all of them; else those of candidates."""
