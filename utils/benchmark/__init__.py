"""How fast a net runs on this machine, and in how much memory: `python -m utils.benchmark`."""
