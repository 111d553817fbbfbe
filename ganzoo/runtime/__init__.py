"""The runtime, which draws images with a verified .onnx file. numpy, onnxruntime and onnx; never torch.

    from ganzoo.runtime import load

    generator = load("mnist")                                 # or a path, or the bytes of a file
    images = generator.sample(100, labels=None, seed=0)       # uint8 [100, 28, 28, 1]

See `ganzoo.runtime.session`.
"""

from typing import TYPE_CHECKING

from ganzoo.lazy import lazy

if TYPE_CHECKING:
    from ganzoo.runtime.session import cores as cores
    from ganzoo.runtime.session import encoder_from_contents as encoder_from_contents
    from ganzoo.runtime.session import from_contents as from_contents
    from ganzoo.runtime.session import load as load
    from ganzoo.runtime.session import load_encoder as load_encoder
    from ganzoo.runtime.session import read_metadata as read_metadata

__all__ = ["cores", "encoder_from_contents", "from_contents", "load", "load_encoder", "read_metadata"]
__getattr__ = lazy(__name__, dict.fromkeys(__all__, "ganzoo.runtime.session"))
