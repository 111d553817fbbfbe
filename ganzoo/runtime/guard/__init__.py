"""What an untrusted file is checked for before anything runs it."""
