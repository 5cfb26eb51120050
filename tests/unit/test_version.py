"""One version: the about badge of the page says what pyproject.toml says."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_names_the_version_of_the_package():
    package = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    page = re.search(r'export const VERSION = "(.+)"', (ROOT / "js" / "version.js").read_text("utf-8"))
    assert package and page and package[1] == page[1]
