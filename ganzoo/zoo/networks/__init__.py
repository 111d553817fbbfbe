"""The architectures: a file each, with a generator and its discriminator. A new file here registers by being here."""

from ganzoo.registry import import_submodules

import_submodules(__name__, __path__)
