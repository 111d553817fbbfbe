"""The formats that a run is exported in: a file each, light to import. A new file here registers by being here."""

from ganzoo.registry import import_submodules

import_submodules(__name__, __path__)
