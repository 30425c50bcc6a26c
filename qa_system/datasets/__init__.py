"""Research data sets as reviews and labels."""
