"""A run as a file that draws without torch, proven to draw the same."""
