"""SLUB of 7.x: sheaves on each CPU, a barn behind them."""
