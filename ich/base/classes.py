"""The five subtypes of haemorrhage and `any`, in the order that they have everywhere."""

SUBTYPES = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural")
CLASSES = (*SUBTYPES, "any")  # this order everywhere
