"""`python -m ganzoo_cli` is the command `ganzoo`."""

from .entry import main

main()
