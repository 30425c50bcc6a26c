"""Metrics: what each is, and the functions behind them."""
