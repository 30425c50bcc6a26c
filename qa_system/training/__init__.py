"""Making models: exports today; training follows."""
