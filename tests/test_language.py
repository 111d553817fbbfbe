"""Documents, docstrings, comments and messages are in plain English: they contain none of these phrases."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

UNITS = (
    "batch|byte|case|channel|class|column|command|digit|epoch|file|grid|image|label|line|pixel|process|row|run|seed|"
    "step|variant"
)
PHRASES = {
    r"\bwithout a word\b": "silently",
    rf"\b(a|one|an) ({UNITS})s? (a|an) ({UNITS}|second|minute)\b": "per, or each",
    rf"(images/s|ms|MB|KiB|FLOP|\bs) (a|an) ({UNITS})\b": "per",
    r"(?<!there )(?<!There )\b[Ii]s no\b(?! (longer|more|less|better|worse|larger|smaller|other))": "is not a",
    r"(^|[.!?:] )Of the\b": "another order of words",
    r"(^|[.!?] )Where (a|an|it|no|one|the|there|they|training)\b": "if, or when",
    r"\bheld against\b": "compared with",
    r"\bbut for\b": "except",
    r"\b(stands|stood|stand) at (\d|its|the)": "has, is",
    r"\b(anew|thereof|therein|whereof|herewith|beforehand)\b": "again",
    r"\b(speaks|tells|says) (how|of|so|that|what|when|where|whether|which|why)\b": "reports, shows, states",
    r"\bis (said|told)\b": "is reported",
    r"\b(on|along) the way\b": "during training",
    r"\bfor ever\b": "forever",
    r"\bleft aside\b": "skipped, ignored",
}
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
SOURCES = sorted(path for name in ("ganzoo", "cli", "docs", "benchmarks") for path in (ROOT / name).rglob("*.py"))


def prose_of(document: Path) -> Iterator[tuple[int, str]]:
    """Yield each line of a document that is not in a block of code, with its number, less what is quoted."""
    fenced = False
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), start=1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            yield number, re.sub(r"`[^`]*`|\"[^\"]*\"", "code", line)


def words_of(source: Path) -> Iterator[tuple[int, str]]:
    """Yield each comment and each line of a string of a module, with its number."""
    kinds = (tokenize.COMMENT, tokenize.STRING, tokenize.FSTRING_MIDDLE) if hasattr(tokenize, "FSTRING_MIDDLE") else (
        tokenize.COMMENT, tokenize.STRING
    )  # fmt: skip
    for token in tokenize.generate_tokens(io.StringIO(source.read_text(encoding="utf-8")).readline):
        if token.type in kinds:
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line.lstrip("#\"' ")


@pytest.mark.parametrize("path", [*DOCUMENTS, *SOURCES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_language_is_plain(path: Path) -> None:
    lines = prose_of(path) if path.suffix == ".md" else words_of(path)
    found = [
        f"line {number}: '{match[0]}' (better: {better})"
        for number, line in lines
        for phrase, better in PHRASES.items()
        if (match := re.search(phrase, line))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "minus `[N]` that broadcasts without a word",
        "a row a class, a column an answer",
        "14 images/s a process",
        "which is no file of ganzoo",
        "Of the variants, one",
        "Where the run has no checkpoint",
        "an exported file is held against torch",
        "the same but for rounding",
        "the run begins anew",
        "the manifest says which files there are",
    ],
)
def test_the_search_finds_dialect(text: str) -> None:
    assert any(re.search(phrase, text) for phrase in PHRASES)
