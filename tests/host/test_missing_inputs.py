"""An input that gets None, as from a switch with nothing behind it, is an error that names it."""

from __future__ import annotations

from types import SimpleNamespace

import comfy.samplers
import tiny_encoders
import torch
from host import call
from safelight_pack import PlainVAE
from tiny_models import latent

from safelight.detect.combined import TextRisk
from safelight.edits.edit_file import Edit
from safelight.engine import edit_files
from safelight.engine.ksampler import SeedNoise
from safelight.views.trace import Trace

# Lists of choices of which the host's own sampler takes anything; and None is off for a switch.
ANYTHING = {"sampler_name", "scheduler", "add_noise", "return_with_leftover_noise"}


def starting_value(declared):
    """The last of a list of choices, which makes the most of the other inputs; else the default, None for a link."""
    if isinstance(declared[0], list):
        return (declared[0] or [None])[-1]
    return declared[-1].get("default")


def test_every_nodes_inputs_are_named_where_they_get_nothing(pack, eps, prompts, monkeypatch):
    load = edit_files.load
    monkeypatch.setattr(edit_files, "load", lambda name, kind: Edit(kind, {}, {}) if name else load(name, kind))
    positive, safe, negative = prompts
    values = {
        **{"model": eps, "clip": tiny_encoders.fitting_clip(), "vae": PlainVAE(), "latent_image": latent()},
        **{"positive": positive, "safe": safe, "negative": negative, "prompt": "a cat", "file": "any"},
        **{"seed": 1, "noise_seed": 1, "steps": 1, "cfg": 5.0, "denoise": 1.0, "safety": 0.5, "levels": "0, 0.5"},
        **{"start_at_step": 0, "end_at_step": 1, "filename_prefix": "edit", "edit": Edit("erase", {}, {})},
        **{
            "noise": SeedNoise(1),
            "sampler": comfy.samplers.sampler_object("euler"),
            "sigmas": torch.tensor([2.0, 0.0]),
        },
        **{"trace": Trace(), "image": torch.rand(1, 8, 8, 3), "method": "project", "epochs": 0},
        **{"merge": "every step", "economy": "off"},  # what goes with a detector
        **{"images": torch.rand(1, 8, 8, 3), "detector": TextRisk(0.1), "detector_1": TextRisk(0.1)},
        **{"clip_vision": SimpleNamespace(), "threshold": 0.5, "way": "any", "n": 1, "hide": "keep"},
    }
    wrong = []
    for node_name, node in pack.nodes.items():
        sections = node.INPUT_TYPES()
        declared = {**sections["required"], **sections.get("optional", {})}
        given = {name: values.get(name, starting_value(each)) for name, each in declared.items()}
        if declared.get("negative", ["CONDITIONING"])[0] == "STRING":  # the prompt itself
            given["negative"] = ""
        needed = [n for n, each in sections["required"].items() if n not in ANYTHING and each[0] != "BOOLEAN"]
        needed += [n for n, each in sections.get("optional", {}).items() if each[0] == "STRING"]
        for name in needed:
            try:
                call(node, **{**given, name: None})
                wrong.append(f"{node_name}: {name} may be None")
            except Exception as error:  # whatever it is
                if not (isinstance(error, ValueError) and str(error).startswith(f"{name}: ")):
                    wrong.append(f"{node_name}: {name}: {error!r}")
    assert not wrong, "\n".join(wrong)
