"""What the browser tests' stand-in server says of our nodes is what the pack declares today."""

import json
from pathlib import Path

from snapshot import FILES

RECORD = Path(__file__).resolve().parents[1] / "browser" / "object_info.json"
AGAIN = "record it again: python -m runner.record --comfyui PATH"


def declared(node, host_choices):
    """The inputs of a node class as a server tells them, without the lists that belong to the host."""
    return without_hosts_choices(json.loads(json.dumps(node.INPUT_TYPES())), host_choices)


def without_hosts_choices(inputs, host_choices):
    return {
        section: {
            name: ["the host's", *spec[1:]] if name == FILES or spec[0] in host_choices else spec
            for name, spec in specs.items()
        }
        for section, specs in inputs.items()
        if section != "hidden"
    }


def test_recorded_nodes_are_those_declared(pack):
    from comfy.samplers import KSampler

    recorded = json.loads(RECORD.read_text("utf-8"))
    hosts = [recorded["KSampler"]["input"]["required"][name][0] for name in ("sampler_name", "scheduler")]
    here = [list(KSampler.SAMPLERS), list(KSampler.SCHEDULERS)]
    for name, node in pack.NODE_CLASS_MAPPINGS.items():
        kept = recorded[name]
        assert without_hosts_choices(kept["input"], hosts) == declared(node, here), f"{name}: {AGAIN}"
        assert kept["output"] == list(node.RETURN_TYPES), f"{name}: {AGAIN}"
        assert kept["output_name"] == list(getattr(node, "RETURN_NAMES", node.RETURN_TYPES)), f"{name}: {AGAIN}"
        assert kept["display_name"] == pack.NODE_DISPLAY_NAME_MAPPINGS[name], f"{name}: {AGAIN}"
        assert (kept["category"], kept["description"]) == (node.CATEGORY, node.DESCRIPTION), f"{name}: {AGAIN}"
    ours = {name for name in recorded if name.startswith("Safelight")}
    assert {node_id for node_id in ours if not node_id.endswith("Patch")} <= set(pack.NODE_CLASS_MAPPINGS), AGAIN


def test_record_is_small_and_speaks_of_no_machine():
    text = RECORD.read_text("utf-8")
    assert len(text) < 200_000
    assert "/home/" not in text and "/tmp/" not in text and "\\\\Users" not in text
