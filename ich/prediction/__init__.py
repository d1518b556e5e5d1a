"""From slices to probabilities."""
