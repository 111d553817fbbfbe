"""Escaping of untrusted text for Markdown: a file or class name cannot create a tag, a link or a new line."""

import html
import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
_MARKDOWN = re.compile(r"([\\`*_\[\]|#~$])")
_LIST_MARKER = re.compile(r"^(\d*)([-+=.)])(?!\d)")  # "1." and "-" at the start of a paragraph begin a list


def plain(text: str) -> str:
    """Return a text on one line, without control characters and characters that change its direction."""
    return " ".join(without_control(text).split())


def without_control(line: str) -> str:
    """Return a line with spaces in place of control characters."""
    return _CONTROL.sub(" ", line)


def escaped(text: str) -> str:
    """Return a text escaped so that Markdown shows it literally."""
    marked = _MARKDOWN.sub(r"\\\1", html.escape(plain(text), quote=False))
    return _LIST_MARKER.sub(r"\1\\\2", marked)


def code(text: str) -> str:
    """Return a text as inline code, also if it contains backticks."""
    line = plain(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence}{line}{fence}" if len(fence) == 1 else f"{fence} {line} {fence}"
