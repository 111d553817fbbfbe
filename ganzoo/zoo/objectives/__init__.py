"""Who plays what: a file each. A new file here registers by being here."""

from ganzoo.registry import import_submodules

import_submodules(__name__, __path__)
