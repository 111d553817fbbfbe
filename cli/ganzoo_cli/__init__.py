"""The command line, `ganzoo`: a file a command. Heavy imports stay inside the commands, so that --help is quick."""
