"""Anybody's annotations become a folder that `--dataset folder` reads."""
