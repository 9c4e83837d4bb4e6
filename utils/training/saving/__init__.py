"""What is saved of a run, and what is asked of it: before it is written, and before it is used."""
