"""Registries, which add and find variants, networks, losses, terms and other parts by name.

    @losses.register("hinge")
    class Hinge: ...

    losses["hinge"]          # the class; the error for an unknown name suggests the nearest match

A part may have aliases, `@variants.register("rpgan", aliases=("rgan",))`, which can be used but are not listed.

The built-in parts register when a registry is first used; so do plug-ins, which are modules that other distributions
declare under the entry-point group `ganzoo.plugins`.

A part need not be registered: `hand_over` assigns a name to an object, under which every registry of this process
finds it.
"""

import copy
import difflib
import functools
import importlib
import importlib.metadata
import inspect
import pkgutil
import re
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, Generic, TypeVar

from ganzoo.errors import UsageError, shown

T = TypeVar("T")
PLUGIN_GROUP = "ganzoo.plugins"
HANDED_OVER = "python:"  # prefix of the names of parts that were passed as objects
_lock = threading.RLock()


def nearest(word: str, choices: list[str]) -> str:
    """Return `; did you mean 'x'?` with the choice nearest to `word`, or an empty string if none is near."""
    matches = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"; did you mean '{matches[0]}'?" if matches else ""


@dataclass(frozen=True, kw_only=True)
class Citation:
    """The citation in a docstring's first line: `(Radford et al. 2016, arXiv:1511.06434)`, or `(own, 2026)`."""

    authors: str  # "own" for the author's own work
    year: int
    paper: str | None = None  # such as arXiv:1511.06434


_CITATION = re.compile(r"\((?P<authors>[^()]*?[^(),\s]),? (?P<year>(?:19|20)\d\d)(?:, (?P<paper>[^\s(),;]+))?[),; ]")


def read_citation(line: str) -> Citation | None:
    """Return the first citation in a line; None if there is none."""
    found = _CITATION.search(line)
    return found and Citation(authors=found["authors"], year=int(found["year"]), paper=found["paper"])


def import_submodules(package: str, path: Iterable[str]) -> None:
    """Import every module of a package, so that their parts are registered."""
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")


class Registry(Generic[T]):
    """Parts of one kind by name; importing the module `package` registers the built-in ones."""

    def __init__(self, kind: str, plural: str, package: str) -> None:
        self.kind = kind
        self.plural = plural
        self.package = package
        self._loaded = False
        self._entries: dict[str, T] = {}
        self._aliases: dict[str, str] = {}  # the listed name of each alias

    def register(self, name: str, aliases: tuple[str, ...] = ()) -> Callable[[T], T]:
        """Return a decorator that registers a class or function under `name` and each of the `aliases`.

        Raises UsageError if a name is taken. Only `__main__` (a notebook, a script) may register its own name again,
        for example when a cell is run twice.
        """

        def add(entry: T) -> T:
            with _lock:
                own = _owner(entry)
                for word in (name, *aliases):
                    taken = self._entries.get(self._aliases.get(word, word))
                    if taken is not None and not (_owner(taken) == own and own.startswith("__main__.")):
                        raise UsageError(f"{self.kind} '{word}' is registered twice: by {_owner(taken)} and by {own}")
                self._entries[name] = entry
                self._aliases |= dict.fromkeys(aliases, name)
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        listed = self.canonical(name)
        return self._entries[listed] if listed in self._entries else _handed_over[listed].make

    def canonical(self, name: str) -> str:
        """Return the listed name for a name or alias. Raises UsageError if it is unknown.
        An object that was handed over keeps its name, unless the object is also registered.
        """
        self._load()
        listed = self._aliases.get(name, name)
        if listed not in self._entries:
            if name in _handed_over:
                part = _handed_over[name].part
                return next((own for own, entry in self._entries.items() if entry is part), name)
            if name.startswith(HANDED_OVER):
                raise UsageError(_describe_missing(self.kind, name))
            known = [*self.names(), *self._aliases]
            raise UsageError(f"no {self.kind} '{name}'{nearest(name, known)} (ganzoo list {self.plural})")
        return listed

    def match(self, name: str) -> str:
        """Return the listed name for what a person typed, as `canonical` does.

        `DCGAN` and `wgan_gp` are read as `dcgan` and `wgan-gp`, unless several names differ only in that way.
        """
        self._load()
        words = [*self._entries, *self._aliases]
        alike = {self._aliases.get(word, word) for word in words if _normalise(word) == _normalise(name)}
        return alike.pop() if len(alike) == 1 and name not in words else self.canonical(name)

    def aliases(self, name: str) -> list[str]:
        """Return the aliases of an entry, sorted."""
        listed = self.canonical(name)
        return sorted(alias for alias, meant in self._aliases.items() if meant == listed)

    def find(self, accepts: Callable[[T], bool]) -> tuple[str, T] | None:
        """Return name and entry of the first part that `accepts`; load plug-ins only if no built-in part matches."""
        for load in (self._load_builtin, self._load):
            load()
            for name, entry in sorted(self._entries.items()):
                if accepts(entry):
                    return name, entry
        return None

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries or name in self._aliases

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def names(self) -> list[str]:
        """Return all registered names, sorted, without aliases."""
        self._load()
        return sorted(self._entries)

    def description(self, name: str) -> str:
        """Return the entry's docstring, or its module's, without its indentation."""
        entry = self[name]
        text = getattr(entry, "__doc__", None) or getattr(sys.modules.get(entry.__module__), "__doc__", None) or ""
        return inspect.cleandoc(text)

    def summary(self, name: str) -> str:
        """Return the first line of the description."""
        return self.description(name).partition("\n")[0]

    def citation(self, name: str) -> Citation | None:
        """Return the citation in the summary: an entry's paper and its year."""
        return read_citation(self.summary(name))

    def declared(self, name: str) -> Any:
        """Return the object that has a part's attributes: the registered one, or the one that was handed over."""
        listed = self.canonical(name)
        return self._entries[listed] if listed in self._entries else _handed_over[listed].part

    def owner(self, name: str) -> str:
        """Return where the entry was defined, as `module.qualname`."""
        return _owner(self.declared(name))

    def _load(self) -> None:
        with _lock:
            if not self._loaded:
                self._loaded = True  # first, because the modules imported below may look names up
                self._load_builtin()
                _load_plugins()

    def _load_builtin(self) -> None:
        importlib.import_module(self.package)


def _normalise(name: str) -> str:
    return name.casefold().replace("_", "-")


def _owner(entry: object) -> str:
    named = entry if hasattr(entry, "__qualname__") else type(entry)
    return f"{getattr(named, '__module__', '?')}.{named.__qualname__}"


# Parts that are handed over as objects

_MAKERS = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial)
# Types of plain values, which cannot be parts
VALUES = (str, bytes, int, float, complex, list, tuple, set, frozenset, dict, types.NoneType, types.ModuleType)
_KEYWORDS = {"term": "terms=[{}]", "augmentation": "augmentations=[{}]", "optimizer": "generator_optimizer={}"}


@dataclass(frozen=True)
class _HandedOver:
    """An object passed as a part, and the function that makes the part as a registered entry does."""

    part: Any
    make: Any


_handed_over: dict[str, _HandedOver] = {}  # by name, of all kinds; only in this process


def hand_over(part: object, name: str | None = None) -> str:
    """Make an object available in every registry, and return its name, such as `python:my_nets.MyGenerator`.

    Args:
        part: a class, function or partial that makes the part as a registered one does; or the part itself, such as
            an `nn.Module`, which is copied whenever the part is needed.
        name: the name under which a run refers to it, which replaces an object of the same name; None for a new name.

    Raises: UsageError for an object that cannot be a part.
    """
    ready = not isinstance(part, _MAKERS)
    if isinstance(part, VALUES) or (not ready and not _has_signature(part)):
        raise UsageError(
            f"{shown(repr(part))} cannot be a part: expected a name, a class or function that makes the part, or a "
            "ready one, such as a torch.nn.Module"
        )
    with _lock:
        if name is None:
            own = HANDED_OVER + _owner(part) + ("" if hasattr(part, "__qualname__") else "()")
            names = chain([own], (f"{own}-{number}" for number in count(2)))
            name = next(word for word in names if word not in _handed_over or _handed_over[word].part is part)
        _handed_over[name] = _HandedOver(part, _make_copier(part) if ready else part)
    return name


def _has_signature(part: Any) -> bool:
    try:
        inspect.signature(part)
    except ValueError:  # raised for int, dict and similar types
        return False
    return True


def _make_copier(part: object) -> Callable[..., Any]:
    def make(*inputs: Any) -> Any:
        try:
            return copy.deepcopy(part)
        except Exception as error:  # a user's object may raise anything
            raise UsageError(
                f"a ready {_owner(part)} cannot be copied ({error}): hand over its class, or a function that makes it"
            ) from None

    return make


def _describe_missing(kind: str, name: str) -> str:
    """Return a message on how to pass a part again. The run's name of it is only shown, never imported."""
    place = name.removeprefix(f"{HANDED_OVER}__main__.").removeprefix(HANDED_OVER)
    found = re.fullmatch(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(\(\))?(?:-\d+)?", place)
    example = found[1] + ("(...)" if found[2] else "") if found else "..."  # only an identifier
    keyword = _KEYWORDS.get(kind, f"{kind}={{}}").format(example)
    return (
        f"the {kind} '{shown(name)}' was handed over in Python, and a run does not contain it: hand it over "
        f"again, as in ganzoo.load(RUN, {keyword}) or ganzoo.resume(RUN, {keyword}); for the command line, "
        "register it under this name in a plug-in"
    )


_plugins_loaded = False


def _load_plugins() -> None:
    """Import every plug-in once; warn of a plug-in that fails, and continue with the others.

    Load all built-in parts first, so that a plug-in that uses one of their names fails, not the built-in part.
    """
    global _plugins_loaded
    if _plugins_loaded:
        return
    _plugins_loaded = True
    entry_points = importlib.metadata.entry_points(group=PLUGIN_GROUP)
    for registry in REGISTRIES.values() if entry_points else ():
        importlib.import_module(registry.package)
    for entry_point in entry_points:
        try:
            entry_point.load()
        except Exception as error:  # third-party code may raise anything
            owner = entry_point.dist.name if entry_point.dist else "an unknown distribution"
            warnings.warn(
                f"plug-in '{entry_point.name}' of {owner} was not loaded: {type(error).__name__}: {error}", stacklevel=2
            )


variants: Registry[Callable[[], Any]] = Registry("variant", "variants", "ganzoo.zoo.variants")
generators: Registry[Callable[..., Any]] = Registry("generator", "generators", "ganzoo.zoo.networks")
discriminators: Registry[Callable[..., Any]] = Registry("discriminator", "discriminators", "ganzoo.zoo.networks")
encoders: Registry[Callable[..., Any]] = Registry("encoder", "encoders", "ganzoo.zoo.networks")
objectives: Registry[Callable[..., Any]] = Registry("objective", "objectives", "ganzoo.zoo.objectives")
losses: Registry[Callable[..., Any]] = Registry("loss", "losses", "ganzoo.zoo.losses")
terms: Registry[Callable[..., Any]] = Registry("term", "terms", "ganzoo.zoo.terms")
penalties = terms  # the old name
augmentations: Registry[Callable[..., Any]] = Registry("augmentation", "augmentations", "ganzoo.zoo.augment")
schedules: Registry[Callable[..., Any]] = Registry("schedule", "schedules", "ganzoo.zoo.schedules")
optimizers: Registry[Callable[..., Any]] = Registry("optimizer", "optimizers", "ganzoo.zoo.optimizers")
datasets: Registry[Callable[..., Any]] = Registry("dataset", "datasets", "ganzoo.data")
formats: Registry[Callable[..., Any]] = Registry("format", "formats", "ganzoo.exporting.formats")
loggers: Registry[Callable[..., Any]] = Registry("logger", "loggers", "ganzoo.training.loggers")


def list_variants() -> list[str]:
    """Return the names of all variants, built-in and of plug-ins, sorted."""
    return variants.names()


def list_parts(kind: str) -> list[str]:
    """Return the names of all parts of a kind, such as `losses` or `datasets`, sorted. Raises UsageError."""
    if kind not in REGISTRIES:
        raise UsageError(f"no kind of part '{kind}'{nearest(kind, list(REGISTRIES))} (one of {', '.join(REGISTRIES)})")
    return REGISTRIES[kind].names()


_ALL = (variants, generators, discriminators, encoders, objectives, losses, terms, augmentations, schedules)
REGISTRIES: dict[str, Registry[Callable[..., Any]]] = {
    registry.plural: registry for registry in (*_ALL, optimizers, datasets, formats, loggers)
}
