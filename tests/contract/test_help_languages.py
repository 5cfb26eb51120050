"""The help pages in other languages: the beginning translated, the folded parts as in English."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner import help as command

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = sorted({folder.name for folder in (ROOT / "locales").iterdir()} - {"en"})
PAGES = [(page, english) for page, english in command.translated()]


def test_every_page_is_there_in_every_language():
    nodes = {page.stem for page in command.DOCS.glob("*.md")}
    expected = {f"{node}/{language}.md" for node in nodes for language in LANGUAGES}
    assert {page.relative_to(command.DOCS).as_posix() for page, _ in PAGES} == expected


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_folded_parts_are_those_of_the_english_page(language):
    """Mended by `python -m runner.help`."""
    stale = [
        page.parent.name
        for page, english in PAGES
        if page.stem == language and page.read_text("utf-8") != command.completed(page, english)
    ]
    assert not stale


def form(text: str) -> dict[str, list[str] | int]:
    """What a translation keeps: headings, pictures, links, rows of tables; of names in code, which inputs have in every
    language, their number."""
    return {
        "headings": re.findall(r"^#+ ", text, re.MULTILINE),
        "addresses": re.findall(r"\]\((.+?)\)", text),
        "rows": re.findall(r"^\|", text, re.MULTILINE),
        "code": len(re.findall(r"`.+?`", text)),
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_beginning_has_the_form_of_the_english_one(language):
    other = {}
    for page, english in PAGES:
        if page.stem == language:
            here, there = (form(command.parts(file.read_text("utf-8"))[0]) for file in (page, english))
            other |= {} if here == there else {page.parent.name: [key for key in here if here[key] != there[key]]}
    assert not other


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_beginning_is_no_copy_and_says_that_the_rest_is_english(language):
    for page, english in PAGES:
        if page.stem != language:
            continue
        begun = command.parts(page.read_text("utf-8"))[0].strip()
        assert re.fullmatch(r"\*[^*]+\*", begun.splitlines()[-1]), page
        sentences = command.parts(english.read_text("utf-8"))[0].splitlines()
        assert not [line for line in sentences if len(line.split()) > 8 and line in begun], page
