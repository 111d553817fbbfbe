"""`python -m ganzoo_cli` is the command `ganzoo`."""

from .app import main

main()
