"""`ganzoo list` as a help to choose: what was measured of the variants, and which parts go with which."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Call, environment

from ganzoo.registry import REGISTRIES, variants
from ganzoo.zoo import measured
from ganzoo.zoo.matrix import TABLES, Part, build_pairs
from ganzoo.zoo.slots import SLOTS, places_of, value_at

FIGURES: dict[str, Any] = {
    "fid": 12.34,
    "coverage": 0.8,
    "label_accuracy": None,
    "images_per_s": 12345.6,
    "generator_parameters": 1234567,
    "discriminator_parameters": 456,
    "minutes_to_good": 2.51,
    "verdict": "good",
    "revision": "abc",
}
ABOUT = {"machine": "two cores", "minutes": 5, "good": 15.0}


def succeeded(answer: tuple[int, str, str]) -> str:
    code, out, err = answer
    assert code == 0, err
    return out


@pytest.fixture
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured of one variant."""
    file = tmp_path / "measured.json"
    file.write_text(json.dumps({"about": ABOUT, "variants": {"dcgan": FIGURES, "gone": FIGURES}}))
    monkeypatch.setattr(measured, "FILE", file)


@pytest.mark.usefixtures("figures")
def test_variants_are_a_table_to_choose_from(call: Call) -> None:
    lines = succeeded(call("list", "variants")).splitlines()
    rows = {line.split()[0]: line for line in lines[1:]}
    assert rows.keys() >= set(variants)
    assert rows["dcgan"].split() == [
        *("dcgan", "network", "2016", "arXiv:1511.06434"),
        *("1,234,567", "456", "12.3", "12,346", "2.5", "good"),
    ]
    assert rows["gan"].split()[4:] == ["-"] * 6  # nothing was measured of it
    assert "gone" not in rows
    assert lines[-1] == "Measured after 5 minutes of training on two cores; good: FID-MNIST 15 or less."
    assert len({len(line) for line in lines[1 : len(variants.names())]}) == 1  # no line is wrapped


@pytest.mark.usefixtures("figures")
def test_variants_as_json_have_all_that_was_measured(call: Call) -> None:
    entries = {entry["name"]: entry for entry in json.loads(succeeded(call("list", "variants", "--json")))["variants"]}
    assert entries["dcgan"]["measured"] == FIGURES
    assert entries["gan"]["measured"] is None
    assert (entries["sgan"]["needs"], entries["ssgan"]["needs"]) == (["labels"], ["square images"])
    for name, entry in entries.items():
        recipe = variants[name]()
        assert (entry["family"], entry["conditional"]) == (recipe.family, recipe.conditional)
        labels = recipe.conditional or "labels" in recipe.needs
        assert ("labels" in entry["needs"], "codes" in entry["needs"]) == (labels, bool(recipe.codes))
        assert entry["year"] >= 2014


@pytest.mark.usefixtures("registries", "figures")
def test_another_variant_of_a_measured_name_is_not_what_was_measured(call: Call) -> None:
    recipe = variants["dcgan"]
    del variants._entries["dcgan"]

    @variants.register("dcgan", aliases=("other",))
    def mine() -> Any:
        """Mine (own, 2026)."""
        return recipe()

    (row,) = [line for line in succeeded(call("list", "variants")).splitlines() if line.startswith("dcgan")]
    assert row.split() == ["dcgan", "or", "other", "network", "2026", *["-"] * 7]


def test_without_a_file_nothing_was_measured(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "FILE", tmp_path / "nothing.json")
    assert "Measured" not in (out := succeeded(call("list", "variants")))
    assert out.splitlines()[1].rstrip().endswith("-")
    monkeypatch.setattr(measured, "FILE", tmp_path / "bad.json")
    measured.FILE.write_text("{}")
    code, _, err = call("list", "variants")
    assert (code, "bad.json is damaged or of another version" in err) == (3, True)


def test_what_ships_is_of_variants_that_there_are() -> None:
    shipped = measured.read_measured()
    assert shipped is None or set(shipped.variants) <= set(variants)


def test_the_table_needs_no_torch() -> None:
    script = "import sys; from ganzoo_cli.app import main\ntry: main()\nfinally: assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", script, "list", "variants"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# Which parts go with which


@pytest.fixture(scope="module")
def reasons() -> dict[tuple[Part, Part], str | None]:
    """Why each row does not go with each column; None if it does."""
    return {(pair.row, pair.column): pair.reason for pair in build_pairs()}


def test_the_matrix_has_each_pair_and_a_reason_for_each_no(call: Call) -> None:
    pairs = json.loads(succeeded(call("list", "--matrix", "--json")))
    cells = {(tuple(pair["row"]), tuple(pair["column"])): pair["reason"] for pair in pairs}
    count = {kind: len(parts.names()) for kind, parts in REGISTRIES.items()}
    assert len(cells) == len(pairs) == sum(count[i] * count[j] for j, rows in TABLES.items() for i in rows)
    text = succeeded(call("list", "--matrix"))
    for reason in filter(None, cells.values()):
        assert f") {reason}\n" in text
    assert text.count("yes ") == sum(reason is None for reason in cells.values())


def test_a_reason_names_the_row_or_the_column(reasons: dict[tuple[Part, Part], str | None]) -> None:
    for pair, reason in reasons.items():
        assert reason is None or any(f"'{name}'" in reason.replace("_", "-") for _, name in pair), pair


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        (("terms", "equilibrium"), ("discriminators", "autoencoder"), None),
        (("terms", "equilibrium"), ("discriminators", "mlp"), "needs the head 'reconstruction'"),
        (("terms", "classification"), ("discriminators", "mlp"), None),  # though not without labels
        (("terms", "mutual-information"), ("discriminators", "mlp"), None),  # though not without codes
        (("terms", "mutual-information"), ("objectives", "semi-supervised"), None),  # though not without supervision
        (("terms", "equilibrium"), ("objectives", "clustering"), None),  # though not without an encoder and codes
        (("terms", "rotation"), ("objectives", "bidirectional"), "images without a latent"),
        (("objectives", "semi-supervised"), ("discriminators", "dcgan"), None),  # though not without supervision
        (("objectives", "semi-supervised"), ("discriminators", "autoencoder"), "needs the head 'classes'"),
    ],
)
def test_a_pair_has_what_else_it_needs(
    reasons: dict[tuple[Part, Part], str | None], row: Part, column: Part, reason: str | None
) -> None:
    found = reasons[row, column]
    assert found is None if reason is None else found is not None and reason in found


@pytest.mark.parametrize("name", variants.names())
def test_what_recipes_combine_goes_together(reasons: dict[tuple[Part, Part], str | None], name: str) -> None:
    recipe = variants[name]()
    parts = {
        kind: [value_at(recipe, place).name for slot in SLOTS[kind] for place in places_of(recipe, slot)]
        for kind in SLOTS
    }
    kinds = [(i, j) for j, rows in TABLES.items() for i in rows]
    pairs = [((i, row), (j, column)) for i, j in kinds for row in parts[i] for column in parts[j]]
    assert len(pairs) >= 3
    assert {pair: reasons[pair] for pair in pairs} == dict.fromkeys(pairs)


@pytest.mark.usefixtures("registries")
def test_a_part_that_crashes_is_a_no(call: Call) -> None:
    class Broken:
        """Raises."""

        def __init__(self, image_shape: Any, num_classes: Any) -> None:
            raise RuntimeError("not today")

    REGISTRIES["discriminators"].register("broken")(Broken)
    assert "RuntimeError: not today" in succeeded(call("list", "--matrix"))


def test_the_matrix_is_of_all_parts(call: Call) -> None:
    code, _, err = call("list", "losses", "--matrix")
    assert (code, err) == (2, "ganzoo: --matrix shows all parts: leave out 'losses'\n")
