"""What the reviews say together: mentions counted, grouped into points, and a verdict."""
