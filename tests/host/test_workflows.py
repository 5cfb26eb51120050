"""The example workflows on a real server: every value fits its widget, and each one makes its pictures."""

from __future__ import annotations

import io
import json
from pathlib import Path

import loading
import pytest
import torch
from host import require
from PIL import Image

from runner import workflow
from runner.client import pictures

MODEL_LOADERS = ("CheckpointLoaderSimple", "UNETLoader")
LOADERS = {"CLIPLoader": 1, "DualCLIPLoader": 1, "VAELoader": 2}  # and the output of a checkpoint in their place
NEWER_INPUTS = {"06 Qwen-Image-Edit with your picture": [("CFGNorm", "pre_cfg")]}
FILE_ENDINGS = (".safetensors", ".png")  # an artist's own files
NO_TINY_MODEL = ("04 Qwen-Image", "05 Z-Image", "06 Qwen-Image-Edit with your picture")
FILES = sorted((loading.ROOT / "workflows").glob("*.json"))
RUNNING = [file for file in FILES if file.stem not in NO_TINY_MODEL]
by_file = pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])


@pytest.fixture
def studio(server):
    """A function that opens a workflow on the server: (client, its object_info, the prompt), or a skip."""
    client, _ = server
    info = client.object_info()

    def opened(file):
        page = workflow.load(file)
        absent = {node["type"] for node in page["nodes"]} - set(workflow.NOTES) - set(info)
        require(not absent, " and no ".join(sorted(absent)))
        for class_type, name in NEWER_INPUTS.get(file.stem, ()):
            require(name in info[class_type]["input"].get("optional", {}), f"{class_type}.{name}")
        # Numbers of each workflow's own: the oldest host takes a node of an earlier prompt for one of equal number.
        first = 1000 * (1 + FILES.index(file))
        prompt = {}
        for number, node in workflow.to_prompt(page, info).items():
            inputs = node["inputs"]
            moved = {key: [str(first + int(v[0])), v[1]] for key, v in inputs.items() if isinstance(v, list)}
            prompt[str(first + int(number))] = {**node, "inputs": {**inputs, **moved}}
        return client, info, prompt

    return opened


def named(name):
    return loading.ROOT / "workflows" / f"{name}.json"


def of_class(prompt, class_type):
    return [node["inputs"] for node in prompt.values() if node["class_type"] == class_type]


def on_tiny_models(prompt):
    """The prompt with its model swapped for a tiny random one of that kind, at 64 x 64 pixels."""
    outputs = {number: LOADERS[node["class_type"]] for number, node in prompt.items() if node["class_type"] in LOADERS}
    tiny = next((number for number, node in prompt.items() if node["class_type"] in MODEL_LOADERS), None)
    for node in prompt.values():
        inputs = node["inputs"]
        if node["class_type"] in MODEL_LOADERS:
            kind = "Flux" if "flux" in str(inputs) else "SDXL"
            node.update({"class_type": "TinyCheckpoint", "inputs": {"kind": kind}})
        elif "width" in inputs and (node["class_type"] == "SafelightEasy" and tiny or inputs["width"] > 96):
            inputs.update({"width": 64, "height": 64})
        for name, value in inputs.items():
            if isinstance(value, list) and value[0] in outputs:
                inputs[name] = [tiny, outputs[value[0]]]
    return {number: node for number, node in prompt.items() if number not in outputs}


def run(client, prompt):
    """The pictures that a prompt saves, by file name prefix, as [H, W, 3] from 0 to 255; and the samplers' reports."""
    entry = client.wait(client.submit(prompt))
    made = {}
    for picture in pictures(entry):
        image = Image.open(io.BytesIO(client.view(picture))).convert("RGB")
        values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).reshape(image.height, image.width, 3)
        made[Path(picture.filename).stem.rsplit("_", 2)[0]] = values.float()
    reports = [json.loads(out["safelight_report"][0]) for out in entry["outputs"].values() if "safelight_report" in out]
    return made, reports


def choices(spec):
    """What a combo offers, in either form of declaration; None for other inputs."""
    return spec[0] if isinstance(spec[0], list) else spec[1].get("options") if spec[0] == "COMBO" else None


def fits(value, spec) -> bool:
    """Whether a value is one that the widget of this declaration can hold."""
    type_, options = spec[0], spec[1] if len(spec) > 1 else {}
    if choices(spec) is not None:
        return value in (choices(spec) or [""])  # a server without such files offers none
    if type_ in ("INT", "FLOAT"):
        number = int if type_ == "INT" else (int, float)
        return isinstance(value, number) and options.get("min", value) <= value <= options.get("max", value)
    return isinstance(value, {"STRING": str, "BOOLEAN": bool}.get(type_, object))


@by_file
def test_workflow_fits_the_nodes(file, studio):
    _, info, prompt = studio(file)
    for node in prompt.values():
        inputs = info[node["class_type"]]["input"]
        declared = {**inputs["required"], **inputs.get("optional", {})}
        for name, value in node["inputs"].items():
            if not isinstance(value, list) and not str(value).endswith(FILE_ENDINGS):
                assert fits(value, declared[name]), f"{node['class_type']}.{name} = {value!r}"


@pytest.mark.parametrize("file", RUNNING, ids=[file.stem for file in RUNNING])
def test_workflow_makes_its_pictures(file, studio):
    client, _, prompt = studio(file)
    made, reports = run(client, on_tiny_models(prompt))
    assert set(made) == {inputs["filename_prefix"] for inputs in of_class(prompt, "SaveImage")}
    assert all(picture.std() > 10 for picture in made.values()), "a picture is blank"
    reporting = ("SafelightEasy", "SafelightKSampler", "SafelightStrip")
    expected = [node for node in prompt.values() if node["class_type"] in reporting]
    assert len(reports) == len(expected)
    for report in reports:
        assert (max(call["w"] for call in report["weights"]) > 0) == (report["safety"] > 0 and report["gate_open"])


def test_inpainting_leaves_the_rest_of_the_picture(studio):
    client, _, prompt = studio(named("08 Inpaint"))
    made, _ = run(client, prompt)
    before, after = made["safelight_before"], made["safelight_after"]
    assert (after - before)[:, :40].abs().mean() < 2, "outside the mask"
    assert (after - before)[:, 56:].abs().mean() > 5, "inside it"


def test_image_to_image_guides_whatever_the_text_is(studio):
    client, _, prompt = studio(named("07 Image to image"))
    of_class(prompt, "SafelightContextEncode")[0].update({"prompt": "a cat on a green background", "safe_prompt": ""})
    _, (report,) = run(client, prompt)
    assert report["gate_open"] and report["risk"] == 1.0


@pytest.mark.parametrize("name", ["10 Any KSampler", "09 Hires in two passes"])
def test_one_slider_of_the_model_patch_is_enough(name, studio):
    """At 0 every picture is that of a workflow without the patch; at its own value every guided one differs."""
    client, _, prompt = studio(named(name))
    (patch,) = of_class(prompt, "SafelightModelPatch")
    guided, _ = run(client, prompt)
    patch["safety"] = 0.0
    off, _ = run(client, prompt)
    for node in of_class(prompt, "KSampler"):
        node["model"] = patch["model"]
    plain, _ = run(client, prompt)
    assert all(torch.equal(off[key], plain[key]) for key in plain)
    assert {key for key in plain if not torch.equal(guided[key], plain[key])} == set(plain) - {"safelight_plain"}


def test_custom_sampling_gives_the_samplers_picture(studio):
    """As its note says: the guider's picture is that of Safelight KSampler with the same settings."""
    client, _, prompt = studio(named("17 Custom sampling"))
    one, _ = run(client, prompt)
    (guider,), (steps,) = of_class(prompt, "SafelightGuider"), of_class(prompt, "BasicScheduler")
    (noise,), (select,) = of_class(prompt, "RandomNoise"), of_class(prompt, "KSamplerSelect")
    number, sampler = next((n, node) for n, node in prompt.items() if node["class_type"] == "SamplerCustomAdvanced")
    settings = {key: steps[key] for key in ("scheduler", "steps", "denoise")}
    prompt[number] = {
        "class_type": "SafelightKSampler",
        "inputs": {
            **guider,
            **settings,
            **select,
            "seed": noise["noise_seed"],
            "latent_image": sampler["inputs"]["latent_image"],
        },
    }
    other, _ = run(client, prompt)
    assert torch.equal(one["safelight"], other["safelight"])


def test_the_columns_of_the_comparison_differ_by_their_method_alone(studio):
    """With every method off all are the plain picture, except the negative prompt's; as saved all differ from it."""
    client, _, prompt = studio(named("13 Compare methods"))
    guided, _ = run(client, prompt)
    for inputs in (node["inputs"] for node in prompt.values()):
        inputs.update({key: 0.0 for key in ("safety", "strength") if key in inputs and "model" in inputs})
    off, _ = run(client, prompt)
    plain = off.pop("safelight_compare_plain")
    assert torch.equal(guided.pop("safelight_compare_plain"), plain)
    assert len(guided) == 5 and not any(torch.equal(picture, plain) for picture in guided.values())
    assert {key for key, picture in off.items() if not torch.equal(picture, plain)} == {"safelight_compare_negative"}


def test_looking_steers_as_its_note_says(studio):
    """Found and steered as far as is enough; at .5 not far enough; where nothing is found the plain picture."""
    client, _, prompt = studio(named("11 Look and steer"))
    (sampler,), (encode,) = of_class(prompt, "SafelightKSampler"), of_class(prompt, "SafelightContextEncode")
    # A seed of its own: of a run that it remembers the server gives no report.
    sampler["seed"] = of_class(prompt, "KSampler")[0]["seed"] = 3
    made, (report,) = run(client, prompt)
    assert not torch.equal(made["safelight_looked"], made["safelight_plain"])
    assert report["look"]["passed"] and report["look"]["pictures"][0]["safety"] > 0.5
    sampler["safety"] = 0.5
    assert not run(client, prompt)[1][0]["look"]["passed"]
    encode["prompt"] = "a rabbit and a tree on a yellow background"
    made, (report,) = run(client, prompt)
    assert torch.equal(made["safelight_looked"], made["safelight_plain"]) and report["look"]["passed"]
    # Harmless words, and a picture that is not: what is found gives the safe prompt.
    encode["prompt"], sampler["safety"] = "a pair on a green background", 1.0
    sampler["seed"] = of_class(prompt, "KSampler")[0]["seed"] = 2
    made, (report,) = run(client, prompt)
    (picture,) = report["look"]["pictures"]
    assert report["risk"] < 0.5 and report["look"]["passed"] and picture["safety"] > 0.0
    assert picture["safe_prompt"].startswith("a pair on a green background with a")
    assert not torch.equal(made["safelight_looked"], made["safelight_plain"])


def test_what_is_found_at_the_end_is_hidden_in_its_place_alone(studio):
    client, _, prompt = studio(named("15 A server with a detector at its end"))
    (look,) = of_class(prompt, "SafelightLook")
    of_class(prompt, "KSampler")[0]["seed"] = 6
    hidden, _ = run(client, prompt)
    look["hide"] = "keep"
    kept, _ = run(client, prompt)
    changed = (hidden["safelight_looked"] != kept["safelight_looked"]).any(-1).float().mean()
    assert 0.05 < changed < 0.5
    (words,) = [node for node in of_class(prompt, "CLIPTextEncode") if node["text"]]
    look["hide"], words["text"] = "blank", "a fox and a tree on a blue background"
    hidden, _ = run(client, prompt)
    look["hide"] = "keep"
    kept, _ = run(client, prompt)
    assert torch.equal(hidden["safelight_looked"], kept["safelight_looked"])


def test_another_seed_draws_another_map(studio):
    """The guider comes out of the host's cache then; its trace is that of the new run."""
    client, _, prompt = studio(named("13 Compare methods"))
    (number,) = [number for number, node in prompt.items() if node["class_type"] == "SafelightMap"]
    prompt["1"] = {"class_type": "SaveImage", "inputs": {"images": [number, 0], "filename_prefix": "the_map"}}
    (noise,) = of_class(prompt, "RandomNoise")
    maps = []
    for seed in (5, 6, 5):
        noise["noise_seed"] = seed
        made, _ = run(client, prompt)
        maps.append(made.get("the_map"))
    assert not torch.equal(maps[0], maps[1]) and torch.equal(maps[0], maps[2])


def test_flux_costs_what_its_note_says(studio):
    """1.75 times plain sampling between 0 and 1, nothing more at the ends."""
    client, _, prompt = studio(named("03 Flux"))
    (note,) = [n["widgets_values"][0] for n in workflow.load(named("03 Flux"))["nodes"] if n["type"] in workflow.NOTES]
    prompt = on_tiny_models(prompt)
    (sampler,) = of_class(prompt, "SafelightKSampler")
    del sampler["risk"]  # a random text encoder knows none
    sampler["memory"] = False
    rows = {}
    for safety in (0.0, sampler["safety"], 1.0):
        sampler["safety"] = safety
        _, (report,) = run(client, prompt)
        rows[safety] = report["rows"]
    assert list(rows.values()) == [20, 35, 20]
    assert "35 evaluations instead of 20: 1.75 times" in note
