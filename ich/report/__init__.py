"""The page, its figures and tables, the model card, the checklists and the crate."""
