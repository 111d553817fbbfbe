"""The terms, which are added to the loss of one or both players, one per file. Importing a file registers its term."""

from ganzoo.registry import import_submodules

import_submodules(__name__, __path__)
