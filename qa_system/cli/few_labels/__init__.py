"""`qa` commands for reviews with few labels or none: a file each."""
