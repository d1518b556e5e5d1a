"""Training: the loop, what it is fed, several processes, resuming, search."""
