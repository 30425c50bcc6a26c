"""The weights of `bundled:generator`, which qa-system finds here."""
