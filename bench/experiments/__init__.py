"""Commands behind single figures of the documentation, each run by hand: `python -m bench.experiments.NAME`."""
