"""What adapting a reader to a domain gains, and what it costs."""
