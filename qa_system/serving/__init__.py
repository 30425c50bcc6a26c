"""`qa serve`: the HTTP API of product pages. docs/serving.md says what it takes and returns."""
