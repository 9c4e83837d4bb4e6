"""Many ranks: groups, signals, joint batch normalisation."""
