"""What the machine gives: memory, worker processes, compiled functions kept on disk."""
