"""Memory that torch keeps of a traced network, and how to free it."""

import linecache
from contextlib import suppress

from torch.export import ExportedProgram


def forget(program: ExportedProgram | None) -> None:
    """Free what only the trace needed, some 400 KB; the program cannot be used afterwards.

    The symbols of its sizes and their cache refer to each other through C++, which Python's garbage collector cannot
    see; torch also keeps the last hundreds of them in caches of functions, and the source of each graph forever. All
    of this is internal to torch: in a version with other names for it, nothing is freed.
    """
    if program is None:
        return
    with suppress(ImportError, AttributeError):
        from torch._subclasses.fake_tensor import FakeTensor
        from torch.fx import graph_module
        from torch.fx.experimental.symbolic_shapes import ShapeEnv

        values = [node.meta.get("val") for node in program.graph.nodes]
        for mode in {value.fake_mode for value in values if isinstance(value, FakeTensor)}:
            if mode.shape_env is not None:
                vars(mode.shape_env).clear()
        for method in vars(ShapeEnv).values():
            if callable(clear := getattr(method, "cache_clear", None)):
                clear()
        sources = graph_module._loader.eval_cache
        for name in [name for name in linecache.cache if name.startswith("<eval_with_key>")]:
            del linecache.cache[name]
        sources.clear()
