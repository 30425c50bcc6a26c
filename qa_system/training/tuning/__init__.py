"""`qa tune`: a search for the values of a recipe with which a model becomes best."""
