"""Checks of an untrusted file before anything runs it."""
