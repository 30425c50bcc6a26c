"""Indexes that follow the ledger, and can be built anew from it at any time."""
