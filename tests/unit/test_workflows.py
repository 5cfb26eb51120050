"""The files that the host offers as templates and blueprints: whole, tidy, and in a form that every page takes."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest

from runner import thumbnails, workflow
from safelight.text.concepts import DEFAULT_CONCEPTS, TEMPLATE_CONCEPTS
from safelight.text.rewrite import DECISION
from safelight.text.safe_prompt import reader_of

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "workflows").glob("*.json"))
TITLE = 30  # pixels of a node's title, which stands above its position
by_file = pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])


def box(node):
    """(left, top, right, bottom) of a node with its title; of a collapsed one the title is all that is shown."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - TITLE, x + width, y + (0 if node["flags"].get("collapsed") else height)


def overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@by_file
def test_both_ends_of_a_link_know_it(file):
    page = workflow.load(file)
    nodes = {node["id"]: node for node in page["nodes"]}
    for number, origin, output, target, socket, type_ in page["links"]:
        assert nodes[target]["inputs"][socket]["link"] == number
        assert number in nodes[origin]["outputs"][output]["links"]
        assert nodes[target]["inputs"][socket]["type"] == nodes[origin]["outputs"][output]["type"] == type_
    numbers = [link[0] for link in page["links"]]
    assert len(set(numbers)) == len(numbers) and max(numbers) == page["last_link_id"]
    assert len(nodes) == len(page["nodes"]) and max(nodes) == page["last_node_id"]
    assert sorted(numbers) == sorted(
        socket["link"] for node in page["nodes"] for socket in node["inputs"] if socket["link"] is not None
    )


@by_file
def test_form_is_one_that_every_page_reads(file):
    page = workflow.load(file)
    assert page["version"] == 0.4
    # The page of the package index build takes an input with a widget for one that the artist made of it, and hides
    # the widget: only where it is linked.
    sockets = [socket for node in page["nodes"] for socket in node["inputs"] if "widget" in socket]
    assert all(socket["link"] is not None and socket["widget"] == {"name": socket["name"]} for socket in sockets)
    for node in page["nodes"]:
        assert node["mode"] == 0
        # Converters don't agree on what to make of an object among them.
        assert all(isinstance(value, (int, float, str)) for value in node.get("widgets_values", ()))
        if node["type"] == "SafelightWeightSchedule":
            assert json.loads(node["widgets_values"][3])["points"], "the editor's curve is saved"


@by_file
def test_nothing_overlaps_and_everything_flows_to_the_right(file):
    page = workflow.load(file)
    for a, b in itertools.combinations(page["nodes"], 2):
        assert not overlap(box(a), box(b)), f"{a['type']} {a['id']} and {b['type']} {b['id']}"
    bounds = [(x, y, x + w, y + h) for x, y, w, h in (group["bounding"] for group in page["groups"])]
    for a, b in itertools.combinations(bounds, 2):
        assert not overlap(a, b)
    group = {}
    for node in page["nodes"]:
        left, top, right, bottom = box(node)
        inside = [g for g in bounds if g[0] <= left and g[1] <= top and right <= g[2] and bottom <= g[3]]
        assert len(inside) == (node["type"] not in workflow.NOTES), f"{node['type']} {node['id']}"
        group[node["id"]] = inside
    for _, origin, _, target, _, _ in page["links"]:
        assert group[origin][0][0] <= group[target][0][0], "from group to group the links go to the right"


@by_file
def test_a_note_says_what_to_press_and_what_to_drag(file):
    page = workflow.load(file)
    (note,) = [node for node in page["nodes"] if node["type"] in workflow.NOTES]
    (words,) = note["widgets_values"]
    assert "**Run**" in words and not re.search(r"\bqueue", words, re.IGNORECASE), "the button says Run"
    assert re.search(r"[Dd]rag (\*\*)?safety", words)
    assert [line[:3] for line in words.splitlines()] == [f"{number}. " for number in range(1, 6)]


def test_the_titles_stand_in_the_order_of_need():
    """The page shows a file's name as the template's title, and sorts by it."""
    titles = [file.stem for file in FILES if not file.stem.endswith(".app")]
    assert [title[:3] for title in titles] == [f"{number:02d} " for number in range(1, len(titles) + 1)]
    assert titles[:2] == ["01 Start here", "02 Your SDXL or SD 1.5 checkpoint"]
    assert not [title for title in titles if "_" in title]


def test_the_app_is_the_template_that_it_is_named_after():
    """It shows the prompt, the slider and the seed, and the saved picture."""
    (app,) = [file for file in FILES if file.stem.endswith(".app")]
    page, graph = workflow.load(app), workflow.load(app.with_name(app.name.replace(".app", "")))
    shown = page.pop("extra")
    graph.pop("extra")
    assert page == graph and shown["linearMode"] is True
    types = {node["id"]: node["type"] for node in page["nodes"]}
    inputs = [(types[number], name) for number, name in shown["linearData"]["inputs"]]
    assert inputs == [("SafelightEasy", name) for name in ("prompt", "safety", "seed")]
    assert [types[number] for number in shown["linearData"]["outputs"]] == ["SaveImage"]


def test_every_template_is_in_the_docs_and_every_one_that_they_name_is_there():
    texts = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "js" / "docs").glob("*.md")]
    named = {title for text in texts for title in re.findall(r"`(\d\d [^`\n]+)`", text.read_text("utf-8"))}
    assert named <= {file.stem for file in FILES}
    table = (ROOT / "docs" / "workflows.md").read_text("utf-8")
    assert re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE) == sorted(file.stem for file in FILES)


@by_file
def test_the_concepts_fit_the_model_and_find_what_is_unsafe_in_the_prompt(file):
    """Of a prompt that reads as harmless a template would show nothing."""
    page = workflow.load(file)
    demo = thumbnails.LOADER in {node["type"] for node in page["nodes"]}
    for node in page["nodes"]:
        if node["type"] in ("SafelightContextEncode", "SafelightPrompt"):
            prompt, safe_prompt, concepts = node["widgets_values"][:3]
            assert concepts == (TEMPLATE_CONCEPTS if demo else DEFAULT_CONCEPTS)
            read = reader_of(concepts)
            assert read(prompt).risk >= DECISION
            assert not safe_prompt or read(safe_prompt).risk < DECISION


def jpeg_size(data):
    """(width, height), from the first frame header."""
    at = 2
    while not 0xC0 <= data[at + 1] <= 0xC2:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")


@by_file
def test_thumbnail(file):
    """Square, since the template browser cuts everything else."""
    data = file.with_suffix(".jpg").read_bytes()
    assert 1_000 < len(data) <= 40_000
    width, height = jpeg_size(data)
    assert width == height >= 300


def test_a_thumbnail_of_a_look_shows_what_it_hides():
    page = workflow.load(ROOT / "workflows" / "15 A server with a detector at its end.json")
    (saved,) = [str(node["id"]) for node in page["nodes"] if node["type"] == "SaveImage"]
    prompt = {
        saved: {"class_type": "SaveImage", "inputs": {}},
        "9": {"class_type": "SafelightLook", "inputs": {"hide": "blank"}},
    }
    queued = thumbnails.runs(page, prompt)
    assert [run["9"]["inputs"]["hide"] for run, _ in queued] == ["keep", "blank"]
    assert [labels for _, labels in queued] == [{saved: ["hide: keep"]}, {saved: ["hide: blank"]}]


def test_a_thumbnail_of_one_picture_shows_it_unguarded_too():
    page = workflow.load(ROOT / "workflows" / "16 The slider on one picture.json")
    saved = next(str(node["id"]) for node in page["nodes"] if node["type"] == "SaveImage")
    prompt = {
        saved: {"class_type": "SaveImage", "inputs": {}},
        "6": {"class_type": "SafelightKSampler", "inputs": {"safety": 0.7}},
    }
    queued = thumbnails.runs(page, prompt)
    assert [run["6"]["inputs"]["safety"] for run, _ in queued] == [0.0, 1.0]
    assert [labels for _, labels in queued] == [{saved: ["safety 0"]}, {saved: ["safety 1"]}]


def test_safe_ksampler_is_whole():
    """The subgraph's slots, links and inner nodes agree, and its slider is on the outside."""
    file = json.loads((ROOT / "subgraphs" / "Safe KSampler.json").read_text("utf-8"))
    (outside,), (inside,) = file["nodes"], file["definitions"]["subgraphs"]
    nodes = {node["id"]: node for node in inside["nodes"]}
    links = {link["id"]: link for link in inside["links"]}
    assert outside["type"] == inside["id"] and outside["title"] == inside["name"] == "Safe KSampler"
    for slots, own in ((inside["inputs"], outside["inputs"]), (inside["outputs"], outside["outputs"])):
        assert [(slot["name"], slot["type"]) for slot in slots] == [(slot["name"], slot["type"]) for slot in own]
    for link in links.values():
        if link["target_id"] in nodes:
            socket = nodes[link["target_id"]]["inputs"][link["target_slot"]]
            assert (socket["link"], socket["type"]) == (link["id"], link["type"])
        else:
            assert inside["outputs"][link["target_slot"]]["linkIds"] == [link["id"]]
        if link["origin_id"] in nodes:
            assert link["id"] in nodes[link["origin_id"]]["outputs"][link["origin_slot"]]["links"]
        else:
            assert inside["inputs"][link["origin_slot"]]["linkIds"] == [link["id"]]
    shown = outside["properties"]["proxyWidgets"]
    assert [name for _, name in shown] == [slot["name"] for slot in outside["inputs"] if "widget" in slot]
    for number, name in shown:
        assert any(slot.get("widget") == {"name": name} for slot in nodes[int(number)]["inputs"])
    assert "safety" in [name for _, name in shown]


def test_a_thumbnail_of_a_strip_shows_its_frames():
    page = workflow.load(ROOT / "workflows" / "12 A strip of five.json")
    (saved,) = [str(node["id"]) for node in page["nodes"] if node["type"] == "SaveImage"]
    prompt = {
        saved: {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "strip"}},
        "7": {"class_type": "SafelightStrip", "inputs": {"levels": "0, 0.5,1"}},
    }
    ((queued, labels),) = thumbnails.runs(page, prompt)
    assert queued[saved]["inputs"] == {"images": ["7", 1], "filename_prefix": "strip"}
    assert labels == {saved: ["safety 0", "safety 0.5", "safety 1"]}
