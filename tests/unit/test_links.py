"""Links of README, docs/ and the other pages of the repository: the files and the headings that they name exist."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/i2p/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "bench" / "results").rglob("*.md")),
]
LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)|<img src=\"([^\"]+)\"")


def prose(page: Path) -> str:
    """Without blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    names = [re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings]
    return {name + (f"-{names[:i].count(name)}" if name in names[:i] else "") for i, name in enumerate(names)}


def broken_links(page: Path) -> list[str]:
    broken = []
    for groups in LINK.findall(prose(page)):
        link = "".join(groups)
        name, _, anchor = link.partition("#")
        file = page.parent / unquote(name) if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(page):
    assert broken_links(page) == []


def test_every_page_of_the_documentation_is_in_its_contents():
    linked = {link for link, _ in LINK.findall(prose(ROOT / "docs" / "README.md"))}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"} <= linked


def test_a_broken_link_is_reported(tmp_path):
    (tmp_path / "b.md").write_text("# The slider's middle\n## A `code`, and more\n## Twice\n## Twice\n", "utf-8")
    page = tmp_path / "a.md"
    right = "[a](b.md) [b](b.md#the-sliders-middle) [c](b.md#a-code-and-more) [d](b.md#twice-1) [e](https://x.y/z)"
    page.write_text(f"# Top\n{right} [f](#top)\n```\n[not a link](nowhere.md)\n```\n", "utf-8")
    assert broken_links(page) == []
    page.write_text('[a](c.md) [b](b.md#middle) [c](#nowhere) ![d](e.png) <img src="f.png" height="9">', "utf-8")
    assert broken_links(page) == ["c.md", "b.md#middle", "#nowhere", "e.png", "f.png"]
