"""What is added to the loss of one player or of both: a file each. A new file here registers by being here."""

from ganzoo.registry import import_submodules

import_submodules(__name__, __path__)
