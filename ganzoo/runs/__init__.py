"""Runs on disk: their files, and functions that open them."""
