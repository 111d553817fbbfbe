"""The objectives, one per file. Each file in this directory is imported, which registers its objective."""

from ganzoo.registry import import_submodules

import_submodules(__name__, __path__)
