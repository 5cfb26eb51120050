"""The help pages: one form, pictures that exist, and the paper told from what is ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "js" / "docs"
PAGES = sorted(DOCS.glob("*.md"))
LIST = DOCS.parents[1] / "docs" / "nodes.md"
HEADINGS = ["When to use it", "Inputs", "Outputs", "Typical mistakes", "The paper, and what is ours"]
# That the pages may cite.
SOURCES = {
    "2411.13982",
    "2211.05105",
    "2410.12761",
    "2310.10012",
    "2602.20880",
    "2412.06143",
    "2412.07658",
    "2408.01014",
    "2511.11014",
    "2308.14761",
    "2407.12383",
    "2606.14351",
    "2305.13301",
    "2410.05309",
    "2305.11351",
    "2507.21802",
    "2606.29801",
    "2510.22851",
    "2307.05977",
    "2303.07345",
    "2407.21035",
    "2303.17591",
    "1604.06174",
    "2311.16254",
    "2511.16743",
    "2607.00402",
    "2404.08031",
}


@pytest.fixture(params=PAGES, ids=lambda page: page.stem)
def text(request):
    return request.param.read_text("utf-8")


def test_a_page_has_the_common_parts_in_their_order(text):
    found = re.findall(r"^(?:## |<summary>)(.+?)(?:</summary>)?$", text, re.MULTILINE)
    assert [heading for heading in found if heading in HEADINGS] == HEADINGS


def test_a_page_begins_short_and_the_rest_is_folded(text):
    """It is read in a narrow column beside the canvas."""
    open_part, *folded = re.split(r"^<details>$", text, flags=re.MULTILINE)
    assert len(open_part.split("![")[0].split()) <= 100, "before the picture"
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["When to use it"]
    assert all(re.match(r"\n<summary>.+</summary>\n\n[^<]", part) and part.count("\n\n</details>\n") == 1 for part in folded)


def test_a_page_begins_with_the_node_s_name(pack):
    for node_id, shown in pack.NODE_DISPLAY_NAME_MAPPINGS.items():
        assert (DOCS / f"{node_id}.md").read_text("utf-8").startswith(f"# {shown}\n"), node_id


def test_the_documentation_lists_every_node_by_its_name(pack):
    linked = re.findall(r"\[([^\]]+)\]\(\.\./js/docs/(\w+)\.md\)", LIST.read_text("utf-8"))
    assert {node_id: shown for shown, node_id in linked}.items() >= pack.NODE_DISPLAY_NAME_MAPPINGS.items()
    assert len(linked) == len(PAGES)


def test_a_page_shows_its_node(request, text):
    """The page resolves relative addresses against js/docs/."""
    pictures = re.findall(r"!\[(.+?)\]\((.+?)\)", text)
    assert pictures
    for _, address in pictures:
        assert re.fullmatch(r"images/\w+\.(jpg|png|webp)", address), address
        assert (DOCS / address).stat().st_size > 1000, address


def test_no_picture_lies_about(request):
    linked = {address for page in PAGES for address in re.findall(r"\((images/.+?)\)", page.read_text("utf-8"))}
    assert {f"images/{picture.name}" for picture in (DOCS / "images").iterdir()} <= linked


def test_the_paper_is_named_and_what_is_ours(text):
    ours = text.split("<summary>The paper, and what is ours</summary>", 1)[1]
    assert "2411.13982" in ours and re.search(r"\bours\b|Safelight's own", ours)
    assert set(re.findall(r"arxiv\.org/abs/([\d.]+\d)", text)) <= SOURCES


def test_every_output_is_named(pack):
    for node_id, node in pack.NODE_CLASS_MAPPINGS.items():
        part = (DOCS / f"{node_id}.md").read_text("utf-8").split("<summary>Outputs</summary>", 1)[1]
        missing = [name for name in getattr(node, "RETURN_NAMES", node.RETURN_TYPES) if name not in part]
        assert not missing, f"{node_id}: {missing}"
