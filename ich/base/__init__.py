"""What every room stands on: errors, files, jobs, settings, the code hash, provenance, the six classes."""
