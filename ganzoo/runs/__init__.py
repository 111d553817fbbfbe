"""What training leaves on disk, and what opens it."""
