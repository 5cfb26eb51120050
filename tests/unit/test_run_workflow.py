"""From the page's workflow format to the API's."""

import json

import pytest

from runner import demo, workflow
from runner.workflow import to_prompt, with_inputs

from .run_fakes import ROOT

INFO = {
    "Loader": {"input": {"required": {}}},
    "Text": {"input": {"required": {"text": ["STRING", {"multiline": True}], "clip": ["CLIP"]}}},
    "Sampler": {
        "input": {
            "required": {
                "model": ["MODEL"],
                "seed": ["INT", {"default": 0}],
                "steps": ["INT", {}],
                "kind": [["euler", "heun"]],
                "shape": ["COMBO", {"options": ["a"]}],
            },
            "optional": {
                "gate": ["FLOAT", {"default": 0.5}],
                "curve": ["STRING", {"widgetType": "OURS"}],
                "risk": ["FLOAT", {"forceInput": True}],
            },
        }
    },
}


def node(number, type_, values=(), **links):
    sockets = [{"name": name, "type": "*", "link": link} for name, link in links.items()]
    return {"id": number, "type": type_, "mode": 0, "widgets_values": list(values), "inputs": sockets}


def page(*nodes, links=((1, 1, 0, 3, 0, "MODEL"),)):
    return {"nodes": list(nodes), "links": [list(link) for link in links]}


def convert(values, **links):
    return to_prompt(page(node(1, "Loader"), node(3, "Sampler", values, model=1, **links)), INFO)["3"]["inputs"]


def test_values_go_to_widgets_by_position_and_links_by_name():
    inputs = convert([7, "fixed", 20, "euler", "a", 0.5, "{}"])
    assert inputs == {
        "model": ["1", 0],
        "seed": 7,
        "steps": 20,
        "kind": "euler",
        "shape": "a",
        "gate": 0.5,
        "curve": "{}",
    }


def test_a_file_of_the_earlier_form_gives_the_same_prompt():
    """There the curve was an object among the widget values, and the sampler's slider stood behind the stock widgets.
    The sampler had fewer values: those have defaults."""
    info = workflow.load(ROOT / "tests" / "browser" / "object_info.json")
    earlier = workflow.load(ROOT / "tests" / "browser" / "earlier" / "safelight_text_to_image.json")
    now = workflow.load(ROOT / demo.WORKFLOW)
    assert any(isinstance(value, dict) for node in earlier["nodes"] for value in node.get("widgets_values", ()))
    prompts = [to_prompt(page, info) for page in (earlier, now)]
    for prompt in prompts:
        (schedule,) = [node["inputs"] for node in prompt.values() if node["class_type"] == "SafelightWeightSchedule"]
        schedule["curve"] = json.loads(schedule["curve"])
    (sampler,) = [node["inputs"] for node in prompts[1].values() if node["class_type"] == "SafelightKSampler"]
    later = {"at_least": 0.5, "hide": "keep", "memory": True}
    assert {name: sampler.pop(name) for name in later} == later
    assert prompts[0] == prompts[1]


def test_seed_without_the_pages_own_widget_behind_it():
    assert convert([7, 20, "euler", "a"])["steps"] == 20


def test_link_wins_over_the_value_kept_for_its_widget():
    text = node(2, "Text", ["kept"], text=1, clip=1)
    assert to_prompt(page(node(1, "Loader"), text), INFO)["2"]["inputs"] == {"text": ["1", 0], "clip": ["1", 0]}


def test_inputs_added_since_the_file_was_saved_are_left_to_their_defaults():
    assert "gate" not in convert([7, "fixed", 20, "euler", "a"])


def test_notes_are_no_nodes():
    assert list(to_prompt(page(node(1, "Loader"), {"id": 9, "type": "Note", "widgets_values": ["hi"]}), INFO)) == ["1"]


@pytest.mark.parametrize(("checkpoints", "first"), [(["a", "b"], "a"), ([], "")])
def test_a_list_without_a_value_has_its_first_choice(checkpoints, first):
    info = {"Checkpoint": {"input": {"required": {"name": [checkpoints]}}}}
    unsaved = {key: value for key, value in node(1, "Checkpoint").items() if key != "widgets_values"}
    assert to_prompt(page(unsaved), info)["1"]["inputs"] == {"name": first}
    if checkpoints:
        assert to_prompt(page(node(1, "Checkpoint", ["b"])), info)["1"]["inputs"] == {"name": "b"}


@pytest.mark.parametrize(
    ("nodes", "fault"),
    [
        ([node(1, "Loader", ["beyond"])], "values beyond its widgets"),
        ([node(1, "Loader"), node(2, "Text", ["a"])], "neither a link nor a value for clip"),
        ([node(1, "Unheard")], "has no node Unheard"),
        ([{**node(1, "Loader"), "mode": 4}], "muted or bypassed"),
    ],
)
def test_what_can_not_be_converted_is_named(nodes, fault):
    with pytest.raises(ValueError, match=fault):
        to_prompt(page(*nodes), INFO)


def test_changes_go_to_the_one_node_of_a_class_and_leave_the_original_alone():
    prompt = {"1": {"class_type": "A", "inputs": {"x": 1, "y": ["2", 0]}}, "2": {"class_type": "B", "inputs": {}}}
    assert with_inputs(prompt, {"A": {"x": 5}})["1"]["inputs"]["x"] == 5
    assert prompt["1"]["inputs"]["x"] == 1
    with pytest.raises(ValueError, match="comes from a link"):
        with_inputs(prompt, {"A": {"y": 5}})
    with pytest.raises(ValueError, match="0 nodes of the class C"):
        with_inputs(prompt, {"C": {"x": 5}})


def test_links_of_the_shipped_workflow_agree_with_its_sockets():
    """What an editor by hand breaks first: a link's ends must name each other."""
    shipped = workflow.load(ROOT / demo.WORKFLOW)
    nodes = {node["id"]: node for node in shipped["nodes"]}
    assert len({node["type"] for node in shipped["nodes"]} & {demo.ENCODE, demo.SAMPLE}) == 2
    for number, source, out, target, slot, type_ in shipped["links"]:
        assert number in nodes[source]["outputs"][out]["links"] and nodes[source]["outputs"][out]["type"] == type_
        assert nodes[target]["inputs"][slot]["link"] == number and nodes[target]["inputs"][slot]["type"] == type_
    linked = [i["link"] for n in shipped["nodes"] for i in n.get("inputs", ()) if i["link"] is not None]
    assert sorted(linked) == sorted(link[0] for link in shipped["links"])
