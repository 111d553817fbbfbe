"""The entry point of the command `ganzoo`: sets up signals and streams before it imports large modules."""

import os
import sys

from .signals import handle, leave


def main() -> None:
    """Run the command that `sys.argv` names."""
    handle(leave)
    from ganzoo.streams import Reports, open_missing_streams, silence

    open_missing_streams()
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = Reports(sys.__stderr__)
    from .app import main as run

    try:
        run()
    finally:
        try:
            if sys.__stderr__ is not None:
                sys.__stderr__.flush()
        except (OSError, ValueError):
            silence(sys.__stderr__)
