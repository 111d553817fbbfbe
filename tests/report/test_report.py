"""Reports: pages that need nothing but themselves, whose every number and picture comes from a file."""

import hashlib
import io
import json
import math
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest
import torch
from conftest import environment, make_images, train_tiny
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from ganzoo.config import assemble
from ganzoo.errors import FileError, UsageError
from ganzoo.evaluation.intervals import interval, student
from ganzoo.evaluation.judge import fit_judge, judge_path
from ganzoo.report import write_comparison, write_report
from ganzoo.report.architecture import layers_of
from ganzoo.report.document import Code, Document, Items, Picture, Row, Section, Table, Text, plain
from ganzoo.report.figures import FRAMES, GIF_BYTES, animation, enlarged, spaced
from ganzoo.report.records import SyntheticDataRecord
from ganzoo.report.sources import Material, results_of, stories
from ganzoo.report.study import effect_sentence, synthetic_data_section
from ganzoo.report.variant import STEPS
from ganzoo.runs.run import Run
from ganzoo.runtime.generator import great_circle
from ganzoo.runtime.images import save_npz

VOID = {"meta", "img", "br", "link", "input"}
JUDGE = {"name": "TINY", "sha256": "5" * 64, "accuracy": 0.9876}
HOSTILE = "<script>alert('|1|')</script> & [x](http://e.example) `"
FIGURES = {"fid": 12.34, "classes": 3.0, "memorised": 0.0125}
FLOORS = {"fid": 0.56, "classes": 3.0, "memorised": 0.002}


class Page(HTMLParser):
    """What a page holds; a tag that is closed out of turn fails."""

    def __init__(self, source: Path | str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(source if isinstance(source, str) else source.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, attribute: str) -> list[str]:
        return [attributes.get(attribute) or "" for name, attributes in self.tags if name == tag]

    def row(self, first: str) -> list[str]:
        return next(row for row in self.rows if row[:1] == [first])


def assert_self_contained(path: Path) -> Page:
    """Valid enough for any browser, and nothing in it is fetched."""
    page = Page(path)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "base"}
    assert page.all("html", "lang") == ["en"]
    assert sum(tag in ("title", "h1") for tag, _ in page.tags) == 2
    assert all(re.match(r"data:image/(png|gif);base64,", source) for source in page.all("img", "src"))
    assert all(page.all("img", "alt"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert page.all("a", "href") == [f"#{name}" for name in ids]
    assert not re.search(r"url\(|@import|\son\w+=", path.read_text(encoding="utf-8").partition("</style>")[0])
    return page


def assert_same_pictures(page: Page, markdown: Path) -> list[Path]:
    """The Markdown shows the page's pictures, which lie beside it."""
    import base64

    found = re.findall(r"!\[(?:\\.|[^\]\\])+\]\(([^)]+)\)", markdown.read_text(encoding="utf-8"))
    files = [markdown.parent / path for path in found]
    assert [base64.b64decode(source.partition(",")[2]) for source in page.all("img", "src")] == [
        file.read_bytes() for file in files
    ]
    assert sorted(files) == sorted((markdown.parent / "figures").iterdir())
    return files


def evaluation() -> dict[str, Any]:
    figures = {
        key: {"values": [value, value + 0.5], "mean": value, "deviation": 0.25, "floor": FLOORS[key]}
        for key, value in FIGURES.items()
    }
    verdict = {"word": "healthy", "sentence": f"healthy: {HOSTILE}"}
    data = {"source": "tiny", "train_sha256": "1" * 64, "test_sha256": "2" * 64}
    document = {"schema": 1, "step": 10, "judge": JUDGE, "data": data, "n": 30, "asked": 30, "seeds": [0, 1]}
    return {**document, "figures": figures, "unavailable": {"label_accuracy": "no labels"}, "verdict": verdict}


def evaluated(run: Run) -> Run:
    (run.path / "evaluation.json").write_text(json.dumps(evaluation()))
    for line in run.metrics():
        figures = {"fid": 100 / line["step"], "label_accuracy": 0.5}
        point = {key: line[key] for key in ("step", "epoch", "seconds")}
        point |= {"n": 30, "judge": JUDGE, "figures": figures, "floors": FLOORS, "classes_lost": ["1"]}
        with (run.path / "evaluations.jsonl").open("a") as file:
            file.write(json.dumps(point) + "\n")
    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two evaluated runs and one that is not."""
    place = tmp_path_factory.mktemp("report")
    images, labels = make_images()
    save_npz(place / "digits.npz", images[..., None], labels)
    source = f"npz:{place / 'digits.npz'}"
    settings = ["train.log_every=2", "train.sample_epochs=[1,2,3]"]
    evaluated(train_tiny("gan", source, place / "first", epochs=3, settings=settings))
    evaluated(train_tiny("cgan", source, place / "second", epochs=2, settings=settings))
    train_tiny("gan", source, place / "third", steps=1, seed=1)
    write_report(place / "both", [place / "first", place / "second"], title=f"Two runs {HOSTILE}")
    return place


@pytest.fixture
def copy(place: Path, tmp_path: Path) -> Path:
    """The first run, to change."""
    return Path(shutil.copytree(place / "first", tmp_path / "run"))


def pictures_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "figures").iterdir()}


# The page


def test_a_report_needs_nothing_but_itself(place: Path) -> None:
    page = assert_self_contained(place / "both" / "index.html")
    names = [path.name for path in assert_same_pictures(page, place / "both" / "report.md")]
    assert {"gan-losses.png", "gan-distance.png", "gan-training.gif", "cgan-neighbours.png"} <= set(names)
    assert {"gan-epoch-1.png", "gan-epoch-3.png", "cgan-interpolations.png", "data-counts.png"} <= set(names)
    assert "comparison-fid.png" in names


def test_what_files_say_is_text_and_no_markup(place: Path) -> None:
    page = Page(place / "both" / "index.html")
    assert f"Verdict: healthy: {HOSTILE}." in page.text
    assert f"Two runs {HOSTILE}" in page.text
    markdown = (place / "both" / "report.md").read_text(encoding="utf-8")
    assert "<script" not in markdown
    assert "](http" not in markdown.replace(r"\](http", "")


def test_a_run_is_told_by_its_own_files(place: Path) -> None:
    page = Page(place / "both" / "index.html")
    run = Run.open(place / "first")
    networks = run.latest_checkpoint().tensors("ema")
    weights = sum(value.numel() for key, value in networks.items() if not re.search("running|tracked", key))
    assert page.row("Total")[-1] == f"{weights:,}"
    assert page.row("FID-TINY") == ["FID-TINY", "12.34 ± 0.25", "0.56", "lower"]
    assert ["classes covered", "3.0 ± 0.2", "3.0", "higher"] in page.rows
    assert ["memorised", "1.25 ± 25.00 %", "0.20 %", "like real"] in page.rows
    assert "98.76 %" in page.text
    assert page.text.count("5" * 64) == 1  # the judge is named once
    assert "Classes lost during training, at step 2: 1" in page.text
    assert f"ganzoo train --config {run.path / 'config.toml'}" in page.text
    assert run.environment()["packages"]["torch"] in page.text
    assert "Not measured: label accuracy (no labels)." in page.text


def test_the_pictures_shown_are_those_of_the_run(place: Path) -> None:
    shown = pictures_of(place / "both")
    for epoch in (1, 2, 3):
        assert shown[f"gan-epoch-{epoch}.png"] == (place / "first" / "samples" / f"epoch-000{epoch}.png").read_bytes()
    assert "gan-final.png" not in shown  # the same as that of the last epoch
    with Image.open(io.BytesIO(shown["gan-training.gif"])) as gif:
        assert gif.n_frames == 3  # type: ignore[attr-defined]
        assert gif.info["loop"] == 0


def change(path: Path, key: str, value: Any) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**line, key: value}) + "\n" for line in lines))


def vouch_for_nothing(run: Path) -> None:
    """Let the newest checkpoint forget what it has of the files of lines, so that they may be changed."""
    path = Run.open(run).latest_checkpoint().path
    state, manifest = (json.loads((path / f"{name}.json").read_bytes()) for name in ("state", "manifest"))
    content = json.dumps({**state, "lines": {}}).encode()
    (path / "state.json").write_bytes(content)
    manifest["sha256"]["state.json"] = hashlib.sha256(content).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_other_files_are_other_numbers_and_pictures(place: Path, copy: Path) -> None:
    vouch_for_nothing(copy)
    change(copy / "metrics.jsonl", "g_loss", 7.0)
    change(copy / "evaluations.jsonl", "floors", {"fid": 3.0})
    shutil.copy(copy / "samples" / "epoch-0001.png", copy / "samples" / "epoch-0002.png")
    document = json.loads((copy / "evaluation.json").read_text())
    document["figures"]["fid"] |= {"mean": 77.125, "values": [77.125]}
    (copy / "evaluation.json").write_text(json.dumps(document))
    page = Page(write_report(copy / "report", [copy]))
    assert page.row("FID-TINY") == ["FID-TINY", "77.12", "0.56", "lower"]  # one draw has no deviation
    before, after = pictures_of(place / "both"), pictures_of(copy / "report")
    changed = {name for name in after if before[name] != after[name]}
    assert changed == {"gan-losses.png", "gan-distance.png", "gan-epoch-2.png", "gan-training.gif"}


def test_what_is_missing_is_said(place: Path, copy: Path) -> None:
    page = Page(write_report(copy / "bare", [place / "third"]))
    assert "ganzoo evaluate" in page.text
    assert "there are no losses" in page.text
    assert "not evaluated during training" in page.text
    assert "No run has been evaluated yet" in page.text
    shutil.rmtree(copy / "checkpoints")
    shutil.rmtree(copy / "samples")
    text = (copy / "config.toml").read_text()
    (copy / "config.toml").write_text(text.replace("digits.npz", "gone.npz").replace('name = "mlp"', 'name = "gone"'))
    page = assert_self_contained(write_report(copy / "report", [copy]))
    assert page.text.count("Left out: ") == 4  # data, architecture, interpolations, neighbours
    assert "no generator 'gone'" in page.text
    assert "has drawn no pictures" in page.text


def test_images_that_are_no_longer_the_same_are_not_shown(place: Path) -> None:
    config = Run.open(place / "first").config
    data, facts, material = config.data, config.facts, Material()
    splits = material.splits(data, facts.sha256)
    assert len(splits.train) + len(splits.test) == facts.images
    with pytest.raises(FileError, match="no longer what the run was trained on"):
        material.splits(data, "0" * 64)


@pytest.mark.parametrize("name", ["evaluation.json", "evaluations.jsonl", "metrics.jsonl", "config.toml"])
def test_a_damaged_file_is_named(name: str, copy: Path) -> None:
    (copy / name).write_bytes(b"\xff{\n")
    with pytest.raises(FileError, match=re.escape(name)):
        write_report(copy / "report", [copy])
    assert not (copy / "report").exists()


def test_an_earlier_report_is_replaced_and_nothing_else(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    shutil.copytree(place / "both", out)
    for kept in (out / "notes.txt", out / "figures" / "mine.png"):
        kept.write_text("mine")
    write_report(out, [place / "third"])
    shown = set(re.findall(r"figures/([\w.-]+)\)", (out / "report.md").read_text()))
    assert {path.name for path in (out / "figures").iterdir()} == {*shown, "mine.png"}
    assert (out / "notes.txt").read_text() == "mine"


def test_runs_of_one_variant_are_seeds_or_have_their_own_names(copy: Path) -> None:
    again = shutil.copytree(copy, copy.parent / "again")
    text = (again / "config.toml").read_text()

    def variants() -> list[str | None]:
        return [row.variant for row in results_of(stories([copy, again])).rows]

    (again / "config.toml").write_text(text.replace("seed = 0", "seed = 5"))
    assert variants() == ["gan", "gan"]
    (again / "config.toml").write_text(text.replace("critic_steps = 1", "critic_steps = 2"))
    assert variants() == ["gan (run)", "gan (again)"]
    assert [story.label for story in stories([copy, again, copy])][1:] == ["gan (again)", f"gan ({copy})"]


@pytest.mark.slow
def test_runs_that_were_judged_differently_are_not_compared(place: Path, copy: Path) -> None:
    document = json.loads((copy / "evaluation.json").read_text())  # by another judge than its evaluations.jsonl
    (copy / "evaluation.json").write_text(json.dumps(document | {"judge": {**JUDGE, "sha256": "6" * 64}}))
    page = Page(write_report(copy / "report", [copy, place / "third"]))
    assert "Left out: the runs were evaluated by different judges." in page.text
    assert "cannot be compared" in page.text


# Documents

texts = st.text(max_size=60)


@pytest.mark.slow
@given(texts, st.lists(texts, min_size=1, max_size=4))
def test_any_text_comes_back_from_the_page_and_breaks_no_markdown(text: str, cells: list[str]) -> None:
    table = Table(header=["a"] * len(cells), rows=[cells], caption=text)
    sections = [Section(text, [Text(text), Text(text, note=True), Items([text]), table]), Section(text, [])]
    document = Document(text, text, sections)
    page = Page(document.to_html())
    assert page.rows[1] == [plain(cell) for cell in cells]
    assert not {"script", "b", "i"} & {tag for tag, _ in page.tags}
    markdown = document.to_markdown()[0]
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    assert len(rows) == 3
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows} == {len(cells) + 1}
    assert sum(line.startswith("#") for line in markdown.splitlines()) == 3


@given(st.text(alphabet="`~a\n <", max_size=20))
def test_what_to_type_stays_within_its_fence(text: str) -> None:
    document = Document("t", "l", [Section("s", [Code(text)])])
    *_, opening, body = re.split(r"^(`{3,})$", document.to_markdown()[0], maxsplit=1, flags=re.MULTILINE)
    assert body.removesuffix("\n").endswith(f"\n{opening}")
    assert opening not in body.removesuffix("\n").removesuffix(opening)
    assert "".join(Page(document.to_html()).words).count("<") == text.count("<")


def test_pictures_of_one_name_are_two_files_and_a_short_row_reaches_to_the_end() -> None:
    picture = Picture(name="A b", data=enlarged(np.zeros((4, 6, 1), np.uint8), 12), alt="black", density=2)
    assert picture.size == (6, 4)
    table = Table(header=["a", "b", "c"], rows=[["x", "1"], ["y", "2", "3"]])
    document = Document("t", "l", [Section("s", [Row([picture, picture]), table])])
    text, files = document.to_markdown()
    assert list(files) == ["figures/a-b.png", "figures/a-b-2.png"]
    assert "| x | 1 |  |" in text
    assert '<td colspan="2">1</td>' in document.to_html()


# Figures


@given(st.integers(1, 60), st.integers(1, 500))
def test_spaced_takes_the_first_the_last_and_ever_fewer_between(count: int, total: int) -> None:
    chosen = spaced(range(total), count)
    assert len(chosen) == min(count, total)
    assert sorted(set(chosen)) == chosen
    assert chosen[0] == 0
    assert chosen[-1] == total - 1 or count == 1
    gaps = np.diff(chosen)
    assert all(gaps[:-1] <= gaps[1:] + 1)


@pytest.mark.slow
def test_an_animation_stays_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        Image.fromarray(rng.integers(0, 256, (450, 500), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    data = animation([(epoch, tmp_path / f"{'ab'[epoch % 2]}.png") for epoch in range(1, 51)])
    assert len(data) <= GIF_BYTES
    with Image.open(io.BytesIO(data)) as gif:
        assert gif.width == 420
        assert 8 <= gif.n_frames < FRAMES  # type: ignore[attr-defined]


class Odd(nn.Module):
    """A layer used twice, weights outside of any layer, a layer that is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.ones(3, 4))
        self.unused = nn.Linear(2, 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.layer(self.layer(x)) @ self.scale.T)


def test_every_weight_is_in_one_line_of_the_architecture() -> None:
    found = [(layer.name, layer.shape, layer.parameters) for layer in layers_of(Odd(), torch.zeros(2, 4))]
    assert found == [("Linear", (4,), 20), ("outside of layers", None, 12 + 4)]


@given(st.integers(0, 1000))
def test_an_interpolation_begins_and_ends_at_its_latents_and_keeps_their_length(seed: int) -> None:
    first, last = np.random.default_rng(seed).standard_normal((2, 64)).astype(np.float32)
    path = great_circle(first, last, STEPS)
    assert path.shape == (STEPS, 64)
    assert np.allclose(path[[0, -1]], [first, last], atol=1e-5)
    lengths = np.linalg.norm(path, axis=1)
    assert lengths.min() > 0.8 * min(np.linalg.norm(first), np.linalg.norm(last))


# Nearest images


def test_a_training_image_is_its_own_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    images, labels = make_images(size=16, count=40)
    save_npz(tmp_path / "set.npz", images[..., None], labels)
    config = assemble("gan", settings=[f"data.source=npz:{tmp_path / 'set.npz'}"])
    wanted = torch.from_numpy(images)[[0, 7, 39], None]
    nearest, measure = Material().nearest(wanted, config, 5)
    assert measure == "pixels"
    assert nearest.shape == (3, 5, 1, 16, 16)
    assert torch.equal(nearest[:, 0], wanted)
    splits = Material().splits(config.data, None)
    fit_judge("set", splits.train, splits.test, judge_path(splits.sha256), epochs=1)
    nearest, measure = Material().nearest(wanted, config, 5)
    assert measure == "the features of the judge set"
    assert torch.equal(nearest[:, 0], wanted)


# Comparisons


def results(*, fid: float = 3.0) -> dict[str, Any]:
    def row(variant: str | None, seed: int, error: str | None = None, **other: Any) -> dict[str, Any]:
        name = f"{variant}-seed{seed}"
        return {"name": name, "run": f"runs/{name}", "variant": variant, "seed": seed, "error": error, **other}

    def done(variant: str, seed: int, fid: float, **other: Any) -> dict[str, Any]:
        curve = [{"step": s, "epoch": s / 10, "seconds": s * (1.0 + seed), "fid": fid + 50 / s} for s in (5, 10, 20)]
        figures = {"fid": fid, "memorised": 0.01, **other}
        return row(variant, seed, status="done", n=1000, figures=figures, curve=curve, verdict=None) | {
            "images_per_s": 1000.0 + 100 * seed,
            "generator_parameters": 12345,
            "onnx_bytes": 2048,
            "latency_ms": {"1": 0.5, "64": 4.0},
        }

    rows = [done("gan", 0, fid), done("gan", 1, fid + 1), done("cgan", 0, 9.0, label_accuracy=0.875)]
    rows += [
        row("cgan", 1, status="failed", error=f"step 7: nan {HOSTILE}"),
        row(None, 0, status="failed", error="gone"),
    ]
    plan = {"variants": ["gan", "cgan"], "seeds": 2, "dataset": "mnist", "minutes": 5.0, "epochs": None}
    return {"plan": plan, "judge": JUDGE, "floors": {"fid": 0.4, "label_accuracy": 0.99}, "rows": rows}


def test_a_comparison_is_a_row_a_variant_and_a_row_a_failure(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(results()))
    page = assert_self_contained(write_comparison(tmp_path))
    assert_same_pictures(page, tmp_path / "comparison.md")
    spread = f"{fmean([3, 4]):.2f} ± {stdev([3, 4]):.2f}"
    assert page.row("gan") == ["gan", "2", spread, "—", "1,050", "12,345", "2", "0.5", "4"]
    assert page.row("cgan")[:4] == ["cgan", "1 of 2", "9.00", "87.50 %"]
    assert page.row("cgan-seed1") == ["cgan-seed1", "failed", f"step 7: nan {HOSTILE}"]
    assert page.row("None-seed0") == ["None-seed0", "failed", "gone"]
    assert page.row("real images (floor)")[2:4] == ["0.40", "99.00 %"]
    assert page.row("memorised")[1:3] == ["1.00 ± 0.00 %", "1.00 %"]
    assert "2 variants, 2 seeds each, on mnist; 5 minutes of training per run; 1,000 images" in page.text
    before = pictures_of(tmp_path)["comparison-fid.png"]
    (tmp_path / "results.json").write_text(json.dumps(results(fid=5.0)))
    page = Page(write_comparison(str(tmp_path)))
    assert page.row("gan")[2].startswith("5.50")
    assert pictures_of(tmp_path)["comparison-fid.png"] != before


def test_a_comparison_where_all_failed_still_has_its_page(tmp_path: Path) -> None:
    document = results()
    document |= {"judge": None, "floors": {}, "rows": document["rows"][3:]}
    (tmp_path / "results.json").write_text(json.dumps(document))
    page = assert_self_contained(write_comparison(tmp_path))
    assert page.row("cgan")[:2] == ["cgan", "0 of 1"]
    assert "No run has finished." in Page(write_report(tmp_path / "out", comparison=tmp_path)).text


def test_what_is_no_comparison_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is not a comparison"):
        write_comparison(tmp_path)
    with pytest.raises(UsageError, match="no runs"):
        write_report(tmp_path, [])


# Studies


def classifier() -> dict[str, Any]:
    history = [
        {"epoch": n, "train_loss": 1 / n, "train_accuracy": 0.9, "test_loss": 2 / n, "test_accuracy": 0.8125}
        for n in (1, 2)
    ]
    document = {"name": "mlp", "parameters": 2345, "layers": [["Linear", "64 -> 3", 195]], "history": history}
    return document | {"confusion": [[5, 1, 0], [0, 6, 0], [0, 2, 4]], "class_names": ["a", HOSTILE, "c"]}


def synthetic_data(change: float) -> dict[str, Any]:
    rows = [
        {"per_class": size, "seed": seed, "real_only": 0.8 + seed / 100, "with_generated": 0.8 + seed / 100 + change}
        for size in (10, 50)
        for seed in range(5)
    ]
    return {"variant": "cgan", "classifier": "cnn", "seeds": 5, "settings": {"steps": 2000}, "rows": rows}


@pytest.mark.slow
def test_a_study_has_its_own_sections(place: Path, tmp_path: Path) -> None:
    (tmp_path / "comparison").mkdir()
    shutil.copytree(place / "first", tmp_path / "comparison" / "runs" / "gan-seed0")
    (tmp_path / "comparison" / "results.json").write_text(json.dumps(results()))
    (tmp_path / "plan.json").write_text(json.dumps({"epochs": [2]}))
    (tmp_path / "classifier.json").write_text(json.dumps(classifier()))
    page = assert_self_contained(write_report(tmp_path, study=tmp_path, title="A study"))
    assert "Left out: the study has no synthetic_data.json." in page.text
    assert "81.25 % on the test images" in page.text
    assert "3 of 18 test images wrong" in page.text
    shown = pictures_of(tmp_path)
    assert {"gan-epoch-2.png", "gan-final.png", "comparison-gan.png"} <= set(shown)
    assert "gan-epoch-1.png" not in shown
    (tmp_path / "synthetic_data.json").write_text(json.dumps(synthetic_data(-0.03)))
    facts = {"source": "elsewhere", "train_images": 4321, "test_images": 12, "image_shape": [1, 8, 8]}
    facts |= {"class_names": ["a", "b", "c"], "train_counts": [1, 2, 4318], "test_counts": [4, 4, 4]}
    (tmp_path / "data.json").write_text(json.dumps(facts | {"train_sha256": "1" * 64, "test_sha256": "2" * 64}))
    page = assert_self_contained(write_report(tmp_path, study=tmp_path))
    assert page.row("train") == ["train", "1", "2", "4,318", "4,321"]
    assert page.row("10") == ["10", "82.00 ± 1.96 %", "79.00 ± 1.96 %", "-3.00 ± 0.00", "5"]
    assert (
        "With 10 real images per class, generated images hurt: 79.00 % with them, 82.00 % on real images" in page.text
    )
    assert_same_pictures(page, tmp_path / "report.md")


def test_generated_images_are_held_against_moved_ones_too() -> None:
    document = synthetic_data(0.02)
    document["rows"] = [{**row, "moved_only": row["real_only"] + 0.05} for row in document["rows"]]
    document["rows"].append({"per_class": 500, "seed": 0, "real_only": 0.9, "with_generated": None, "moved_only": None})
    page = Page(Document("t", "l", [synthetic_data_section(SyntheticDataRecord.model_validate(document))]).to_html())
    assert page.row("50")[1:4] == ["82.00 ± 1.96 %", "84.00 ± 1.96 %", "87.00 ± 1.96 %"]
    assert page.row("50")[4:] == ["+2.00 ± 0.00", "-3.00 ± 0.00", "5"]
    assert "images helped: 84.00 % with them, 82.00 % on real images only (+2.00 points" in page.text
    assert "images hurt: 84.00 % with them, 87.00 % on real images only, moved (-3.00 points" in page.text
    assert page.row("500") == ["500", *["—"] * 5, "0"]
    assert page.text.count("With 500 real images per class there is no result.") == 2


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([(0.8, 0.85), (0.7, 0.76), (0.75, 0.79)], "generated images helped"),
        ([(0.8, 0.75), (0.7, 0.64), (0.75, 0.71)], "generated images hurt"),
        ([(0.8, 0.85), (0.7, 0.64), (0.75, 0.76)], "made no difference beyond the error bars"),
        ([(0.8, 0.85)], "one seed only"),
        ([], "no result"),
    ],
)
def test_the_sentence_says_plainly_what_generated_images_did(pairs: list[tuple[float, float]], words: str) -> None:
    assert words in effect_sentence(100, np.array(pairs).reshape(-1, 2))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.floats(-0.5, 0.5), st.floats(0.0, 0.1))
def test_the_sentence_follows_the_interval_of_the_paired_differences(
    real: list[float], shift: float, jitter: float
) -> None:
    differences = [shift + jitter * (-1) ** index for index in range(len(real))]
    pairs = np.array([(value, value + difference) for value, difference in zip(real, differences, strict=True)])
    mean, half = interval(pairs[:, 1] - pairs[:, 0])
    assert half is not None
    sentence = effect_sentence(10, pairs)
    assert ("helped" in sentence) == (mean - half > 0)
    assert ("hurt" in sentence) == (mean + half < 0)


@pytest.mark.parametrize(("freedom", "quantile"), [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (100, 1.984)])
def test_quantiles_of_students_t(freedom: int, quantile: float) -> None:
    assert math.isclose(student(freedom), quantile, abs_tol=1e-3)


# The command


def ganzoo(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ganzoo_cli", "report", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_command_writes_the_report(place: Path) -> None:
    done = ganzoo("third", "--out", "pages", "--title", "Mine", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "page": "pages/index.html",
        "markdown": "pages/report.md",
        "runs": ["third"],
    }
    page = assert_self_contained(place / "pages" / "index.html")
    assert page.text.count("Mine") == 2
    assert_same_pictures(page, place / "pages" / "report.md")


@pytest.mark.slow
def test_the_command_refuses_what_is_no_run(place: Path, tmp_path: Path) -> None:
    done = ganzoo(str(place), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert "is not a run (it has no config.toml)" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "report").exists()
