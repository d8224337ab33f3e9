"""Prefect's API, for those who start and watch runs: the command line and the dashboard.

api.py      a connection, and what goes wrong with it in our words
runs.py     start, find, watch and cancel runs
details.py  what a run is made of: stages with their shards, progress, and logs
failures.py what has crashed or could not start of late, and what to do
pod_failures.py  why a stage's pod failed
"""
