"""Labelled data for other tools: a generator's images as a data set on disk. See `ganzoo.synthetic.writing`."""

from typing import TYPE_CHECKING

from ganzoo.lazy import lazy

if TYPE_CHECKING:
    from ganzoo.synthetic.writing import Model as Model
    from ganzoo.synthetic.writing import open_model as open_model
    from ganzoo.synthetic.writing import quotas as quotas
    from ganzoo.synthetic.writing import spread as spread
    from ganzoo.synthetic.writing import write as write

__all__ = ["Model", "open_model", "quotas", "spread", "write"]
__getattr__ = lazy(__name__, dict.fromkeys(__all__, "ganzoo.synthetic.writing"))
