"""The page's texts in locales/: English is what the nodes and scripts say themselves, and no language lacks a text.

After changing a tooltip, `--record` writes the English files anew; the other languages are written by hand.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCALES = ROOT / "locales"
LANGUAGES = sorted(folder.name for folder in LOCALES.iterdir() if folder.is_dir())
FILES = ("main.json", "nodeDefs.json", "settings.json")
# The page's own widget behind a seed, which it names by the node.
AFTER_GENERATE = {"control_after_generate": {"name": "control after generate"}}
# The parts of the node menu that the page has no word of its own for.
CATEGORIES = ("demo", "detect", "edits", "inspect")
NOTES = ("MarkdownNote", "Note")
# Titles that are names, in every language.
NAMES = {"Safelight", "Safe Adapter", "CASG", "Erase", "Redact", "SAFREE", "SLD", "Strip", "TraSCE"}
NAMES |= {"Qwen-Image", "Z-Image"}
# The words and settings in the scripts that show them, read by Node.
SCRIPT = """
import { readFileSync } from "node:fs"
const { ENGLISH } = await import(process.argv[1] + "/words.js")
const { settings } = await import(process.argv[1] + "/settings.js")
console.log(JSON.stringify({ words: ENGLISH, settings: settings(() => {}) }))
"""


def read(language: str, file: str) -> dict:
    return json.loads((LOCALES / language / file).read_text("utf-8"))


def texts_of(node: type, shown: str) -> dict:
    """What the page looks up under nodeDefs.<id>, from a node class."""
    sections = node.INPUT_TYPES()
    inputs: dict[str, dict[str, str]] = {}
    for name, (_, options) in {**sections.get("required", {}), **sections.get("optional", {})}.items():
        inputs[name] = {"name": name, "tooltip": options["tooltip"]}
        if options.get("control_after_generate"):
            inputs |= AFTER_GENERATE
    names = getattr(node, "RETURN_NAMES", node.RETURN_TYPES)
    tooltips = node.OUTPUT_TOOLTIPS
    outputs = {str(i): {"name": name, "tooltip": tooltips[i]} for i, name in enumerate(names)}
    return {"display_name": shown, "description": node.DESCRIPTION, "inputs": inputs, "outputs": outputs}


def template_texts() -> dict[str, str]:
    """The notes of the templates, and the titles of their nodes and groups that are more than names."""
    texts: set[str] = set()
    for path in (ROOT / "workflows").glob("*.json"):
        workflow = json.loads(path.read_text("utf-8"))
        for graph in (workflow, *workflow.get("definitions", {}).get("subgraphs", [])):
            texts |= {node["widgets_values"][0] for node in graph["nodes"] if node["type"] in NOTES}
            texts |= {part["title"] for part in (*graph["nodes"], *graph.get("groups", [])) if part.get("title")}
    return {text: text for text in sorted(texts - NAMES)}


@pytest.fixture(scope="module")
def scripts() -> dict:
    program = shutil.which("node")
    if program is None:
        pytest.skip("no node on this machine")
    command = [program, "--input-type=module", "--eval", SCRIPT, (ROOT / "js").as_uri()]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


@pytest.fixture(scope="module")
def english(pack, scripts) -> dict[str, dict]:
    """The English files as they should be."""
    settings = scripts["settings"]
    shown = pack.NODE_DISPLAY_NAME_MAPPINGS
    return {
        "main.json": {
            "nodeCategories": {name: name for name in CATEGORIES},
            "safelight": {**scripts["words"], "templates": template_texts()},
            # The template browser names a pack by its folder, unless this has a name for it.
            "templateWorkflows": {"category": {"safelight": "Safelight"}},
        },
        "nodeDefs.json": {id: texts_of(node, shown[id]) for id, node in pack.NODE_CLASS_MAPPINGS.items()},
        "settings.json": {
            setting["id"].replace(".", "_"): {
                "name": setting["name"],
                "tooltip": setting["tooltip"],
                **({"options": {text: text for text in setting["options"]}} if "options" in setting else {}),
            }
            for setting in settings
        },
    }


def leaves(texts: dict, path: str = "") -> dict[str, str]:
    found = {}
    for key, value in texts.items():
        found |= leaves(value, f"{path}{key}/") if isinstance(value, dict) else {f"{path}{key}": value}
    return found


def test_english_is_what_the_nodes_and_the_page_say(english, present, recorded, request):
    if request.config.getoption("--record"):
        for file, texts in english.items():
            (LOCALES / "en" / file).write_text(json.dumps(texts, indent=2, ensure_ascii=False) + "\n", "utf-8")
    for file, texts in english.items():
        said = read("en", file)
        if file == "nodeDefs.json":  # an older host lacks a node
            said = {id: said[id] for id in said if id in present or id in recorded}
        assert said == texts, f"locales/en/{file}: pytest tests/contract --record writes it"


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_missing_or_surplus(language):
    assert sorted(path.name for path in (LOCALES / language).iterdir()) == sorted(FILES)
    for file in FILES:
        said, wanted = leaves(read(language, file)), leaves(read("en", file))
        assert set(said) == set(wanted), f"{language}/{file}"
        assert all(text.strip() for text in said.values())


@pytest.mark.parametrize("language", sorted({*LANGUAGES} - {"en"}))
def test_a_language_is_not_english_in_disguise(language):
    """Names of formats and data types are the same everywhere; sentences are not."""
    same = [
        path
        for file in FILES
        for path, text in leaves(read(language, file)).items()
        if text == leaves(read("en", file))[path] and " " in text
    ]
    assert same == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_s_own_placeholders_do_not_occur(language):
    """vue-i18n reads { } @ | in the texts that it shows."""
    for file in ("nodeDefs.json", "settings.json"):
        assert [path for path, text in leaves(read(language, file)).items() if set(text) & set("{}@|")] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_fills_in_the_same_values(language):
    def values(text):
        return sorted(re.findall(r"\{(\w+)\}", text))

    english, said = leaves(read("en", "main.json")), leaves(read(language, "main.json"))
    assert {path: values(text) for path, text in said.items()} == {path: values(text) for path, text in english.items()}
