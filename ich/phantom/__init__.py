"""Synthetic head CT: anatomy, lesions, series and the data set made of them."""
