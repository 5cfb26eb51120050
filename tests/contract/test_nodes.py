"""What every node keeps to: the recorded file format, and what the artist is told."""

import copy
import inspect
import json
import re
from pathlib import Path

import host
import pytest
import snapshot

GENERAL = {"sfw", "nsfw", "safe", "safety", "content safety"}
DOCS = Path(__file__).resolve().parents[2] / "js" / "docs"


def declarations(node):
    sections = node.INPUT_TYPES()
    assert set(sections) <= {"required", "optional", "hidden"}
    return {**sections.get("required", {}), **sections.get("optional", {})}


# --- the file format


def test_no_saved_workflow_breaks(recorded, present):
    assert snapshot.breaks(recorded, present) == []


@pytest.mark.parametrize("release", sorted(snapshot.RELEASED.glob("*.json")), ids=lambda path: path.stem)
def test_no_workflow_of_a_release_breaks(release, present, recorded):
    """By hand or by --record: what a release had stays."""
    released = json.loads(release.read_text("utf-8"))
    assert snapshot.breaks(released, snapshot.load()) == []
    assert snapshot.breaks({node_id: node for node_id, node in released.items() if node_id in recorded}, present) == []


def test_this_release_is_kept():
    version = re.search(r'^version = "(.+)"$', (snapshot.ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)[1]
    assert (snapshot.RELEASED / f"{version}.json").exists()


def test_everything_is_recorded(recorded, present):
    assert snapshot.unrecorded(recorded, present) == [], "record it: pytest tests/contract --record"


def is_widget(declaration):
    kind, options = declaration
    typed = isinstance(kind, (list, tuple)) or kind in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
    return not options.get("forceInput") and (typed or "widgetType" in options)


def test_widget_values_are_read_alike_by_every_converter(pack):
    """A workflow holds them by position, and converters to the API's format go through the inputs in their order.

    Some take a number with forceInput for a widget, and few know a value that is no number or text. So a node's first
    inputs are sockets, then come the widgets, each of a plain type, then whatever else is linked.
    """
    for node_id, node in pack.NODE_CLASS_MAPPINGS.items():
        inputs = list(declarations(node).items())
        stock = list(host.base_nodes.KSamplerAdvanced.INPUT_TYPES()["required"])
        if node_id == "SafelightKSamplerAdvanced":  # has the stock node's inputs as they are, sockets among them
            assert [name for name, _ in inputs if name in stock] == stock
            inputs = [each for each in inputs if each[0] not in (*stock, "safe")]
        order = [is_widget(declaration) for _, declaration in inputs]
        if any(order):
            first, last = order.index(True), len(order) - order[::-1].index(True)
            assert all(order[first:last]), f"{node_id}: a socket stands among the widgets"
        for name, (kind, options) in inputs:
            assert "widgetType" not in options or kind == "STRING", f"{node_id}.{name}"
            assert not isinstance(options.get("default"), (dict, list)), f"{node_id}.{name}"


def changed(recorded, change):
    nodes = copy.deepcopy(recorded)
    change(nodes)
    return nodes


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda n: n.pop("SafelightKSampler"), "SafelightKSampler: the node is gone"),
        (lambda n: n["SafelightKSampler"]["inputs"].pop(), "is gone"),
        (lambda n: n["SafelightKSampler"]["inputs"].pop(0), "its place is taken by positive"),
        (lambda n: n["SafelightKSampler"]["inputs"][0].update(name="net"), "its place is taken by net"),
        (lambda n: n["SafelightKSampler"]["inputs"].reverse(), "its place is taken by"),
        (lambda n: n["SafelightKSampler"]["inputs"][0].update(type="CLIP"), "type was 'MODEL', is 'CLIP'"),
        (lambda n: n["SafelightKSampler"]["inputs"][0].update(section="optional"), "section was 'required'"),
        (lambda n: n["SafelightWeightSchedule"]["inputs"][1].update(default=0.5), "default was 0.2, is 0.5"),
        (lambda n: n["SafelightWeightSchedule"]["inputs"][1].pop("default"), "default was 0.2, is None"),
        (lambda n: n["SafelightWeightSchedule"]["inputs"][0]["choices"].reverse(), "choices were"),
        (lambda n: n["SafelightWeightSchedule"]["inputs"][0]["choices"].pop(), "choices were"),
        (lambda n: n["SafelightWeightSchedule"]["inputs"][0].update(choices="the host's"), "choices were"),
        (lambda n: n["SafelightKSampler"]["outputs"].reverse(), "output 1, LATENT: its place is taken by passed"),
        (lambda n: n["SafelightKSampler"]["inputs"].insert(0, {"name": "new"}), "its place is taken by new"),
    ],
)
def test_a_change_that_breaks_saved_workflows_is_named(recorded, change, fault):
    faults = snapshot.breaks(recorded, changed(recorded, change))
    assert faults and fault in faults[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda n: n.update(SafelightNew={"inputs": [], "outputs": []}),
        lambda n: n["SafelightKSampler"]["inputs"].append({"name": "new", "section": "optional", "type": "MASK"}),
        lambda n: n["SafelightKSampler"]["outputs"].append({"name": "new", "type": "MASK"}),
        lambda n: n["SafelightWeightSchedule"]["inputs"][0]["choices"].append("new"),
    ],
)
def test_what_is_appended_breaks_nothing_and_wants_to_be_recorded(recorded, change):
    appended = changed(recorded, change)
    assert snapshot.breaks(recorded, appended) == []
    assert len(snapshot.unrecorded(recorded, appended)) == 1


# --- what the artist is told


def test_every_node_can_be_found_and_says_what_it_is_for(pack):
    assert set(pack.NODE_DISPLAY_NAME_MAPPINGS) == set(pack.NODE_CLASS_MAPPINGS)
    for node_id, node in pack.NODE_CLASS_MAPPINGS.items():
        assert node_id.startswith("Safelight"), node_id
        assert len(node.DESCRIPTION) > 40, node_id
        # What an artist types who does not know the pack yet leads to two nodes, or the right one is lost among fifty.
        general = node_id in ("SafelightEasy", "SafelightKSampler")
        assert node.SEARCH_ALIASES and (GENERAL & {*node.SEARCH_ALIASES}) == (GENERAL if general else set()), node_id
        assert node.CATEGORY == "Safelight" or node.CATEGORY.startswith("Safelight/"), node_id


def test_every_input_and_output_has_a_tooltip(pack):
    for node_id, node in pack.NODE_CLASS_MAPPINGS.items():
        for name, declaration in declarations(node).items():
            assert len(declaration) == 2 and len(declaration[1].get("tooltip", "")) > 10, f"{node_id}.{name}"
        assert len(node.OUTPUT_TOOLTIPS) == len(node.RETURN_TYPES) and all(node.OUTPUT_TOOLTIPS), node_id


def test_every_node_has_a_help_page_that_names_each_input(pack):
    missing = {}
    for node_id, node in pack.NODE_CLASS_MAPPINGS.items():
        page = DOCS / f"{node_id}.md"
        text = page.read_text(encoding="utf-8") if page.is_file() else ""
        missing[node_id] = [name for name in declarations(node) if name not in text] if text else "no page"
    assert {node_id: names for node_id, names in missing.items() if names} == {}


def test_every_help_page_belongs_to_a_node():
    assert {page.stem for page in DOCS.glob("*.md")} <= set(snapshot.load())


# --- what the host can run


def test_a_node_runs_without_its_optional_inputs_on_the_values_its_widgets_show(pack):
    for node_id, node in pack.NODE_CLASS_MAPPINGS.items():
        parameters = inspect.signature(getattr(node, node.FUNCTION)).parameters
        takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        for name in declarations(node):
            assert name in parameters or takes_any, f"{node_id}.{name} is no parameter of {node.FUNCTION}"
        for name, declaration in node.INPUT_TYPES().get("optional", {}).items():
            if name not in parameters:
                continue
            default = parameters[name].default
            assert default is not inspect.Parameter.empty, f"{node_id}.{name} has no default"
            shown = declaration[1].get("default")
            assert default == shown, f"{node_id}.{name}"


def test_required_numbers_and_choices_start_within_what_they_allow(pack):
    for node_id, node in pack.NODE_CLASS_MAPPINGS.items():
        for name, declaration in declarations(node).items():
            kind, options = declaration
            if kind in ("FLOAT", "INT"):
                assert options["min"] <= options["default"] <= options["max"], f"{node_id}.{name}"
            elif isinstance(kind, (list, tuple)) and "default" in options:
                assert options["default"] in kind, f"{node_id}.{name}"
