"""Registering, looking up, and the plug-ins of other distributions."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import distribution, environment

from ganzoo import registry
from ganzoo.config import assemble
from ganzoo.errors import UsageError
from ganzoo.registry import Citation, Registry, read_citation


def things() -> Registry[Callable[[], Any]]:
    """A registry with no built-in entries."""
    return Registry("thing", "things", "ganzoo.errors")


def test_a_name_stands_for_what_was_registered() -> None:
    registry = things()

    @registry.register("one")
    def one() -> int:
        """The first.

        And more.
        """
        return 1

    assert registry["one"] is one
    assert "one" in registry
    assert "two" not in registry
    assert list(registry) == registry.names() == ["one"]
    assert registry.summary("one") == "The first."
    assert registry.owner("one") == f"{__name__}.{one.__qualname__}"


def test_a_name_that_is_taken_names_both_owners() -> None:
    registry = things()

    def first() -> None: ...
    def second() -> None: ...

    registry.register("same")(first)
    with pytest.raises(UsageError, match="thing 'same' is registered twice") as caught:
        registry.register("same")(second)
    for owner in (first, second):
        assert f"{__name__}.{owner.__qualname__}" in str(caught.value)
    assert registry["same"] is first


def test_even_the_same_function_may_not_register_twice() -> None:
    registry = things()

    def first() -> None: ...

    registry.register("same")(first)
    with pytest.raises(UsageError, match="registered twice"):
        registry.register("same")(first)


def test_a_script_may_define_its_own_name_anew_and_no_other() -> None:
    """A notebook's cell is run twice, with another function of the same name."""
    registry = things()
    scope: dict[str, Any] = {"__name__": "__main__", "registry": registry}
    cell = "@registry.register('mine')\ndef mine(): return {}"
    exec(cell.format(1), scope)
    exec(cell.format(2), scope)
    assert registry["mine"]() == 2
    with pytest.raises(UsageError, match=r"by __main__\.mine and by __main__\.other"):
        exec("@registry.register('mine')\ndef other(): return 3", scope)

    def foreign() -> None: ...

    with pytest.raises(UsageError, match="registered twice"):
        registry.register("mine")(foreign)
    assert registry["mine"]() == 2


def test_an_alias_is_found_and_not_listed() -> None:
    registry = things()

    @registry.register("paired", aliases=("rgan", "rpgan"))
    def paired() -> None: ...

    assert registry["rgan"] is registry["paired"] is paired
    assert "rpgan" in registry
    assert registry.names() == ["paired"]
    assert registry.aliases("rgan") == registry.aliases("paired") == ["rgan", "rpgan"]
    assert (registry.canonical("rgan"), registry.canonical("paired")) == ("paired", "paired")
    with pytest.raises(UsageError, match="no thing 'rpgam'; did you mean 'rpgan'"):
        registry.canonical("rpgam")


def test_a_persons_spelling_is_matched_unless_names_differ_only_in_it() -> None:
    assert registry.variants.match("DCGAN") == "dcgan"
    assert registry.variants.match("wgan_gp") == "wgan-gp"
    assert registry.variants.match("RGAN") == "rpgan"  # an alias
    assert assemble("DCGAN").run.variant == "dcgan"
    parts: Registry[Callable[[], str]] = Registry("thing", "things", "ganzoo.registry")
    for name in ("one-A", "one_a", "two"):
        parts.register(name)(lambda: "")
    assert (parts.match("one_a"), parts.match("Two")) == ("one_a", "two")
    with pytest.raises(UsageError, match="no thing 'ONE-A'"):
        parts.match("ONE-A")
    with pytest.raises(UsageError, match="no thing 'Two'"):  # a recorded name is exact
        parts.canonical("Two")


def test_an_alias_takes_no_name_and_lets_none_be_taken() -> None:
    registry = things()

    def first() -> None: ...
    def second() -> None: ...

    registry.register("one", aliases=("two",))(first)
    for name, aliases in (("two", ()), ("three", ("one",)), ("three", ("two",))):
        with pytest.raises(UsageError, match=r"thing '(one|two)' is registered twice"):
            registry.register(name, aliases)(second)
    assert registry.names() == ["one"]
    assert "three" not in registry


@pytest.mark.usefixtures("registries")
def test_a_configuration_has_the_name_that_is_listed() -> None:
    registry.variants.register("the-first", aliases=("vanilla",))(registry.variants["gan"])
    registry.losses.register("svm", aliases=("support-vector",))(registry.losses["hinge"])
    config = assemble("vanilla", settings=["loss=support-vector"])
    assert (config.run.variant, config.variant.loss.name) == ("the-first", "svm")
    file = {"run": {"variant": "vanilla"}}
    assert assemble(file=file).run.variant == "the-first"


@pytest.mark.parametrize(
    ("line", "authors", "year", "paper"),
    [
        ("DCGAN (Radford et al. 2016, arXiv:1511.06434): convolutions.", "Radford et al.", 2016, "arXiv:1511.06434"),
        ("WGAN (Arjovsky et al. 2017, arXiv:1701.07875, alg. 1): x.", "Arjovsky et al.", 2017, "arXiv:1701.07875"),
        ("The game (Lim & Ye 2017, arXiv:1705.02894; others).", "Lim & Ye", 2017, "arXiv:1705.02894"),
        (
            "Resize (2 x) (Odena et al. 2016, doi:10.23915/distill.00003): y",
            "Odena et al.",
            2016,
            "doi:10.23915/distill.00003",
        ),
        ("RMSprop (Tieleman & Hinton 2012): gradients.", "Tieleman & Hinton", 2012, None),
        ("Digits from noise (own, 2026): mine.", "own", 2026, None),
    ],
)
def test_a_citation_is_read_from_a_first_line(line: str, authors: str, year: int, paper: str | None) -> None:
    assert read_citation(line) == Citation(authors=authors, year=year, paper=paper)


def test_a_line_without_a_year_cites_nothing() -> None:
    assert read_citation("The game (arXiv:1406.2661, eq. 1) of 2014 (see there).") is None


@pytest.mark.parametrize("kind", registry.REGISTRIES)
def test_an_unknown_name_is_told_the_nearest_and_the_command(kind: str) -> None:
    entries = registry.REGISTRIES[kind]
    known = max(entries, key=len)
    with pytest.raises(UsageError, match=f"no {entries.kind} '{known}x'; did you mean '{known}'.*ganzoo list {kind}"):
        entries[known + "x"]
    with pytest.raises(UsageError) as caught:
        entries["0000"]
    assert str(caught.value) == f"no {entries.kind} '0000' (ganzoo list {kind})"


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in registry.REGISTRIES.values() for name in kind])
def test_every_entry_says_what_it_is(kind: Registry[Callable[..., Any]], name: str) -> None:
    assert len(kind.summary(name)) > 10
    assert kind.owner(name).split(".")[0] in sys.modules


GOOD = """
from ganzoo.plugin import Spec, Variant, losses, variants

@variants.register("theirs")
def theirs() -> Variant:
    return Variant(generator=Spec("mlp", width=5), discriminator=Spec("mlp"), loss=Spec("theirs"))
"""
SCRIPT = """
import json, sys, warnings
import ganzoo, ganzoo.registry
from ganzoo.registry import variants
loaded = [name for name in ("torch", "good_gans", "broken_gans", "taken_gans") if name in sys.modules]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    names = variants.names()
    owner, recipe = variants.owner("theirs"), variants["theirs"]()
print(json.dumps({
    "loaded": loaded, "names": names, "owner": owner, "width": recipe.generator.settings["width"],
    "warnings": [str(warning.message) for warning in caught], "hinge": ganzoo.registry.losses.owner("hinge"),
}))
"""


@pytest.mark.slow
def test_plug_ins_load_at_the_first_look_up_and_a_broken_one_only_warns(tmp_path: Path) -> None:
    distribution(tmp_path, "a-broken-dist", {"broken": "broken_gans"}, {"broken_gans": "raise OSError('no luck')"})
    distribution(tmp_path, "b-missing-dist", {"missing": "module_of_nobody"}, {})
    taken = GOOD.replace('"theirs")', '"dcgan")')
    distribution(tmp_path, "c-taken-dist", {"taken": "taken_gans"}, {"taken_gans": taken})
    distribution(tmp_path, "d-good-dist", {"good": "good_gans"}, {"good_gans": GOOD})
    hinge = "from ganzoo.plugin import losses\n\n@losses.register('hinge')\ndef hinge(): ..."
    distribution(tmp_path, "e-loss-dist", {"loss": "loss_gans"}, {"loss_gans": hinge})
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["loaded"] == []  # nothing heavy, and no plug-in, before the first look-up
    assert {"theirs", "dcgan", "gan"} <= set(told["names"])
    assert (told["owner"], told["width"]) == ("good_gans.theirs", 5)
    assert told["hinge"] == "ganzoo.zoo.losses.Hinge"
    broken, loss, missing, taken = sorted(told["warnings"])
    assert broken == "plug-in 'broken' of a-broken-dist was not loaded: OSError: no luck"
    assert missing.startswith("plug-in 'missing' of b-missing-dist was not loaded: ModuleNotFoundError")
    assert "plug-in 'loss' of e-loss-dist" in loss  # though the variants were looked into first
    assert "ganzoo.zoo.losses.Hinge" in loss
    assert "plug-in 'taken' of c-taken-dist" in taken
    assert "taken_gans.theirs" in taken
    assert "ganzoo.zoo.variants.dcgan.dcgan" in taken
