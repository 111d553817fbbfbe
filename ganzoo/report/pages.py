"""The pages of reports: their sections, and the files that they are written to."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ganzoo.config import DataConfig
from ganzoo.errors import GanzooError, UsageError
from ganzoo.evaluation.metrics import FIGURES
from ganzoo.files import atomic_write, writing
from ganzoo.records import Record, read_record
from ganzoo.report.comparison import comparison_section, looks_of
from ganzoo.report.document import FIGURES as FOLDER
from ganzoo.report.document import Block, Code, Document, Section, Table, Text, percent
from ganzoo.report.figures import COLOURS, Style
from ganzoo.report.records import (
    RESULTS,
    ClassifierRecord,
    ComparisonResults,
    StudiedData,
    StudyPlan,
    SyntheticDataRecord,
    read_results,
    synthetic_data_in,
)
from ganzoo.report.sources import Material, Story, results_of, stories
from ganzoo.report.study import classifier_section, data_section, facts_of, synthetic_data_section
from ganzoo.report.variant import variant_section
from ganzoo.runs.records import JudgeRecord
from ganzoo.runs.run import to_repeat

R = TypeVar("R", bound=Record)

_SHOWN = re.compile(rf"\]\({FOLDER}/([a-z0-9-]+\.(?:png|gif))\)")
TITLE = "ganzoo report"
LEAD = "All plots and numbers here are made from the files of the runs."
FLOOR = (
    "The floor of a metric is what real images score: as many training images as were generated, compared with the "
    "test images. At the floor, the metric cannot distinguish a generator's images from real ones, and differences "
    "below it are noise."
)


def write_report(
    out: str | Path,
    runs: Sequence[Path] = (),
    *,
    comparison: Path | None = None,
    study: Path | None = None,
    title: str = TITLE,
) -> Path:
    """Write `index.html`, `report.md` and `figures/` into `out`, and return the path of `index.html`.

    Args:
        out: a directory, created if it is missing; only the files of an earlier report in it are replaced.
        runs: the runs to describe in a section each; if empty, the first run of each variant in the comparison.
        comparison: a directory of `ganzoo compare`; without one, several runs are compared as they are.
        study: a directory of `ganzoo study`, with its own parts and perhaps a comparison.
        title: the heading of the page.

    Raises: FileError for a run or a file that is missing or damaged, MachineError if `out` cannot be written.
    """
    out, base = Path(out), comparison
    if base is None and study is not None and (study / "comparison" / RESULTS).is_file():
        base = study / "comparison"
    results = None if base is None else read_results(base)
    told = stories(runs or (_first_runs(results, base) if results and base else []))
    if not told and results is None:
        raise UsageError("there are no runs to report on: name some")
    material = Material()
    compared = results or results_of(told)
    sections = [
        *_data(told, study, material),
        *_study_part(study, "classifier.json", "The classifier", ClassifierRecord, classifier_section),
        _describe_quality(_judges(told, compared)),
        _variants(told, compared, study, material),
    ]
    if results is not None:
        sections.append(comparison_section(results, base or Path()))
    elif len(told) > 1:
        sections.append(_unplanned(told, compared))
    synthetic, name = "Synthetic images as training data", synthetic_data_in(study or Path())
    sections += _study_part(study, name, synthetic, SyntheticDataRecord, synthetic_data_section)
    sections.append(_environment(told))
    return _save(out, Document(title, LEAD, sections), "report.md")


def write_comparison(out: str | Path) -> Path:
    """Write `index.html`, `comparison.md` and `figures/` beside a comparison's `results.json`; return the page."""
    out = Path(out)
    results = read_results(out)
    sections = [comparison_section(results, out), _describe_quality(_judges([], results))]
    return _save(out, Document("Comparison of variants", LEAD, sections), "comparison.md")


def _first_runs(results: ComparisonResults, base: Path) -> list[Path]:
    """Return the first finished run of each variant that still exists."""
    first: dict[str, Path] = {}
    for row in results.rows:
        if row.done and row.variant and (base / row.run).is_dir():
            first.setdefault(row.variant, base / row.run)
    return list(first.values())


def _judges(told: Sequence[Story], results: ComparisonResults | None = None) -> list[JudgeRecord]:
    """Return each judge once."""
    found = [judge for story in told for judge in story.judges]
    found += [results.judge] if results and results.judge else []
    return list({judge.sha256: judge for judge in found}.values())


def _data(told: Sequence[Story], study: Path | None, material: Material) -> list[Section]:
    """Return sections from the study's `data.json`, else from each data set that runs were trained on."""
    facts = None if study is None else read_record(StudiedData, study / "data.json")
    if facts is not None:
        config = told[0].config if told else None
        data = config.data if config else DataConfig(source=facts.source)
        return [_data_set(data, config.facts.sha256 if config else None, facts, material)]
    sources = {(story.config.data.source, story.config.facts.sha256): story.config.data for story in told}
    return [_data_set(data, sha256, None, material) for (_, sha256), data in sources.items()]


def _data_set(data: DataConfig, sha256: str | None, facts: StudiedData | None, material: Material) -> Section:
    try:
        splits = material.splits(data, sha256)
    except GanzooError as error:
        return data_section(facts, None) if facts else Section("The data", [Text(f"Left out: {error}.")])
    return data_section(facts or facts_of(splits), splits)


def _study_part(
    study: Path | None, name: str, title: str, model: type[R], make: Callable[[R], Section]
) -> list[Section]:
    """Return a section from a file of the study, or one that reports the missing file; none without a study."""
    if study is None:
        return []
    record = read_record(model, study / name)
    return [Section(title, [Text(f"Left out: the study has no {name}.")]) if record is None else make(record)]


def _describe_quality(judges: Sequence[JudgeRecord]) -> Section:
    """Return the section on the judges and the meaning of the metrics."""
    if not judges:
        return Section("How quality is measured", [Text("No run has been evaluated yet (ganzoo evaluate RUN).")])
    blocks: list[Block] = [
        Text(
            f"The judge {judge.name} is a fixed classifier; distances are measured in its features. Its test accuracy "
            f"is {percent(judge.accuracy)}. SHA-256 of its weights: {judge.sha256}."
        )
        for judge in judges
    ]
    if len(judges) > 1:
        blocks.append(Text("Metrics of different judges have different units and cannot be compared.", note=True))
    blocks.append(
        Text(f"{FLOOR} Distances by this judge are not Inception distances, and cannot be compared with them.")
    )
    rows = [[figure.title, figure.direction, figure.meaning] for figure in FIGURES.values()]
    return Section("How quality is measured", [*blocks, Table(header=["Metric", "Better", "Meaning"], rows=rows)])


def _variants(told: Sequence[Story], compared: ComparisonResults, study: Path | None, material: Material) -> Section:
    plan = None if study is None else read_record(StudyPlan, study / "plan.json")
    epochs = () if plan is None else plan.epochs or ()
    looks = looks_of(compared)
    sections = []
    for story in told:
        style = looks.get(story.label) or looks.get(story.variant) or Style(colour=COLOURS[0])
        sections.append(variant_section(story, material, style, epochs))
    if not sections:
        return Section("The variants", [Text("No run has finished.")])
    return Section("The variants" if len(sections) > 1 else "The variant", sections)


def _unplanned(told: Sequence[Story], compared: ComparisonResults) -> Section:
    """Return a comparison of runs without a common plan, if they have the same judge."""
    if len(_judges(told)) > 1:
        return Section("Comparison", [Text("Left out: the runs were evaluated by different judges.")])
    return comparison_section(compared, Path())


def _environment(told: Sequence[Story]) -> Section:
    header = ["Run", "Device", "Python", "ganzoo", "torch", "Revision", "Started"]
    rows = []
    for story in told:
        environment = story.run.environment()
        versions = environment.get("packages", {})
        revision, dirty, _ = (environment.get("git_revision") or "").partition("-dirty")
        found = [environment.get("device"), environment.get("python"), versions.get("torch-ganzoo")]
        found += [versions.get("torch"), revision[:12] + dirty, environment.get("started")]
        rows.append([story.label, *(str(cell or "—") for cell in found)])
    commands = "\n".join(to_repeat(story.run.path, story.config.data.source) for story in told)
    return Section(
        "How to repeat the runs",
        [
            Text(
                "These commands repeat each run from its start, in a new directory. On the CPU of the same machine the "
                "results are the same bit for bit, unless the budget is a time."
            ),
            Code(commands),
            Table(header=header, rows=rows, caption="The machines and versions that the runs were trained with."),
        ],
    )


def _save(out: Path, document: Document, markdown: str) -> Path:
    """Replace each file, pictures first, and remove an earlier report's pictures that are not in this one."""
    page = document.to_html()
    text, figures = document.to_markdown()
    former = _pictures_in(out / markdown)
    for path, data in figures.items():
        atomic_write(out / path, data)
    atomic_write(out / markdown, text.encode())
    atomic_write(out / "index.html", page.encode())
    _remove(out / FOLDER, former - _names(figures))
    return out / "index.html"


def _names(figures: Mapping[str, bytes]) -> set[str]:
    return {Path(path).name for path in figures}


def _pictures_in(markdown: Path) -> set[str]:
    """Return the names of the pictures that an earlier report shows."""
    with suppress(OSError, UnicodeDecodeError):
        return set(_SHOWN.findall(markdown.read_text(encoding="utf-8")))
    return set()


def _remove(folder: Path, names: set[str]) -> None:
    for name in names:
        with writing(folder / name):
            (folder / name).unlink(missing_ok=True)
