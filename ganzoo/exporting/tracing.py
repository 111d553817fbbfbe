"""What torch keeps of a network that it traced, and how to have it forget that."""

from torch._subclasses.fake_tensor import FakeTensor
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import ShapeEnv


def forget(program: ExportedProgram | None) -> None:
    """Free what only the trace needed, some 300 KB; the program itself is of no more use afterwards.

    The symbols of its sizes and their cache hold each other through C++, where Python's garbage collector does not
    look, and torch keeps the last hundreds of them in caches of functions too.
    """
    if program is None:
        return
    values = [node.meta.get("val") for node in program.graph.nodes]
    for mode in {value.fake_mode for value in values if isinstance(value, FakeTensor)}:
        if mode.shape_env is not None:
            vars(mode.shape_env).clear()
    for method in vars(ShapeEnv).values():
        if callable(clear := getattr(method, "cache_clear", None)):
            clear()
