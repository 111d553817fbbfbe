"""The command line `ganzoo`, one file per command. Slow imports are inside the commands to keep --help fast."""
