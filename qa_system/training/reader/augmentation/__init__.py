"""Examples in other words, with the same answers: synonyms, and translations there and back."""
