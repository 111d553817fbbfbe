"""Entry point of `python -m ganzoo_cli`, which is the same as the command `ganzoo`."""

from .entry import main

main()
