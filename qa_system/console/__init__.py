"""What the command lines share: running, options, progress."""
