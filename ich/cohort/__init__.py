"""From headers and labels to the cohort: manifest of slices, labels, split, quarantine, characteristics."""
