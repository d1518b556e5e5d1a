"""Detection of intracranial haemorrhage in head CT."""
