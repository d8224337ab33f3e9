"""Benchmarks: commands that print figures beside the bars they are held to. Nothing here is a test."""
