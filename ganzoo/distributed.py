"""The public names `World` and `joined`, which are defined in `ganzoo.compute.distributed`."""

from typing import TYPE_CHECKING

from ganzoo.lazy import lazy

if TYPE_CHECKING:
    from ganzoo.compute.distributed import ALONE as ALONE
    from ganzoo.compute.distributed import World as World
    from ganzoo.compute.distributed import joined as joined

__all__ = ["ALONE", "World", "joined"]
__getattr__ = lazy(__name__, dict.fromkeys(__all__, "ganzoo.compute.distributed"))
