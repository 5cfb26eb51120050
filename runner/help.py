"""Help in other languages: `python -m runner.help`.

A page js/docs/<Node>/<locale>.md begins as its translator wrote it, up to the first part that is folded; this puts the
folded parts of the English page js/docs/<Node>.md in the place of those that stand below. A test says which pages wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .messages import say

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "js" / "docs"
FOLDED = "<details>\n"


def parts(text: str) -> tuple[str, str]:
    """What stands open on a page, and its folded parts."""
    at = text.find(FOLDED)
    return (text, "") if at < 0 else (text[:at], text[at:])


def translated() -> Iterator[tuple[Path, Path]]:
    """Every page in another language, and its English one."""
    for page in sorted(DOCS.glob("*/*.md")):
        yield page, DOCS / f"{page.parent.name}.md"


def completed(page: Path, english: Path) -> str:
    """The page as it should be."""
    return parts(page.read_text("utf-8"))[0].rstrip() + "\n\n" + parts(english.read_text("utf-8"))[1]


def main() -> None:
    changed = 0
    for page, english in translated():
        text = completed(page, english)
        if text != page.read_text("utf-8"):
            page.write_text(text, "utf-8")
            changed += 1
    say(f"{changed} pages of help changed")


if __name__ == "__main__":
    main()
