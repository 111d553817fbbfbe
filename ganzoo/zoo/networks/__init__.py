"""The architectures, one per file, with a generator and its discriminator. Importing a file registers them."""

from ganzoo.registry import import_submodules

import_submodules(__name__, __path__)
