"""`python -m utils.curves`: the learning curves of a run."""
