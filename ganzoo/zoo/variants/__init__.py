"""The recipes, one per file. Importing a file registers its variant."""

from ganzoo.registry import import_submodules

import_submodules(__name__, __path__)
