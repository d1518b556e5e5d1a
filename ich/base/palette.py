"""Colours of text and marks, on figures and contact sheets."""

INK, FAINT, ALERT = "#1C2024", "#8A939C", "#B00020"
