"""The export formats, one file each, light to import. A new file in this folder is registered automatically."""

from ganzoo.registry import import_submodules

import_submodules(__name__, __path__)
