"""Trace sets: the folder of Parquet files that a recording becomes, and its snapshots."""
