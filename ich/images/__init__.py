"""Windowed images: windows, caches, contact sheets."""
