"""The pack in a real server, over HTTP, as any client would use it."""

from __future__ import annotations

import io
import json
import time
import urllib.error
import urllib.request
from pathlib import Path

import host
import pytest
import torch
from PIL import Image

from runner.client import pictures
from runner.messages import Failure

NODES = set(json.loads((Path(__file__).parents[1] / "contract" / "nodes.json").read_text("utf-8")))


def graph(sampler, prefix, **inputs):
    """An API prompt: the tiny model, three prompts, the sampler node with these inputs, a saved picture."""
    settings = {**host.SETTINGS, **inputs}
    links = {"model": ["1", 0], "positive": ["2", 0], "negative": ["4", 0], "latent_image": ["5", 0]}
    if sampler != "KSampler":
        links["safe"] = ["3", 0]
    return {
        "1": {"class_type": "TinyModel", "inputs": {}},
        "2": {"class_type": "TinyPrompt", "inputs": {"seed": 1, "broken": False}},
        "3": {"class_type": "TinyPrompt", "inputs": {"seed": 2, "broken": False}},
        "4": {"class_type": "TinyPrompt", "inputs": {"seed": 3, "broken": False}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "6": {"class_type": sampler, "inputs": {**links, **settings}},
        "7": {"class_type": "TinyPicture", "inputs": {"samples": ["6", 0]}},
        "8": {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": prefix}},
    }


def picture(client, prompt):
    """The pixels that a prompt makes, and its history entry."""
    entry = client.wait(client.submit(prompt))
    data = client.view(pictures(entry)[0])
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8), entry


def post(client, path, body=None):
    request = urllib.request.Request(
        client.url + path, data=json.dumps(body or {}).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as response:
        return response.read()


def test_pack_loads_without_an_error(server):
    _, log = server
    lines = log.read_text("utf-8", "replace").splitlines()
    faults = [line for line in lines if "safelight" in line and ("IMPORT FAILED" in line or "Cannot import" in line)]
    assert not faults, "\n".join(lines)


def test_object_info_has_every_node_of_the_contract(server):
    client, _ = server
    info = client.object_info()
    absent = set() if host.has_wrappers() else {name for name in NODES if name.endswith("Patch")}
    assert {name for name in info if name.startswith("Safelight")} == NODES - absent
    for name in NODES - absent:
        node = info[name]
        assert node["category"].startswith("Safelight"), name
        assert node["description"], name
        for group in ("required", "optional"):
            for key, spec in node["input"].get(group, {}).items():
                assert len(spec) > 1 and spec[1].get("tooltip"), f"{name}.{key} has no tooltip"


def test_pictures_over_http(server):
    """Safety 0 is the stock KSampler's picture, 1 is another; optional inputs may be left out of the prompt."""
    client, _ = server
    plain, _ = picture(client, graph("KSampler", "plain"))
    off, _ = picture(client, graph("SafelightKSampler", "off", safety=0.0))
    full, entry = picture(client, graph("SafelightKSampler", "full", safety=1.0))
    assert torch.equal(off, plain)
    assert not torch.equal(full, plain)
    report = json.loads(entry["outputs"]["6"]["safelight_report"][0])
    assert max(call["w"] for call in report["weights"]) == 1.0, "the report is kept in the history"


def test_schedule_node_and_guider_over_http(server):
    """The same picture through SafelightGuider, with the schedule's curve as plain JSON in the prompt."""
    client, _ = server
    by_sampler = graph("SafelightKSampler", "by_sampler", safety=0.6)
    curve = {"points": [[0.0, 0.2], [1.0, 1.0]], "interpolation": "linear"}
    schedule = {
        "class_type": "SafelightWeightSchedule",
        "inputs": {"preset": "custom", "context": 0.1, "axis": "noise level", "curve": curve},
    }
    by_sampler["9"] = schedule
    by_sampler["6"]["inputs"]["schedule"] = ["9", 0]
    one, entry = picture(client, by_sampler)
    report = json.loads(entry["outputs"]["6"]["safelight_report"][0])
    assert [point for point in report["schedule"]["points"]] == curve["points"]

    by_guider = {key: by_sampler[key] for key in ("1", "2", "3", "4", "5", "9")}
    settings = host.SETTINGS
    by_guider |= {
        "6": {
            "class_type": "SafelightGuider",
            "inputs": {
                "model": ["1", 0],
                "positive": ["2", 0],
                "safe": ["3", 0],
                "negative": ["4", 0],
                "cfg": settings["cfg"],
                "safety": 0.6,
                "schedule": ["9", 0],
            },
        },
        "10": {"class_type": "RandomNoise", "inputs": {"noise_seed": settings["seed"]}},
        "11": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": settings["sampler_name"]}},
        "12": {
            "class_type": "BasicScheduler",
            "inputs": {
                "model": ["1", 0],
                "scheduler": settings["scheduler"],
                "steps": settings["steps"],
                "denoise": 1.0,
            },
        },
        "13": {
            "class_type": "SamplerCustomAdvanced",
            "inputs": {
                "noise": ["10", 0],
                "guider": ["6", 0],
                "sampler": ["11", 0],
                "sigmas": ["12", 0],
                "latent_image": ["5", 0],
            },
        },
        "7": {"class_type": "TinyPicture", "inputs": {"samples": ["13", 0]}},
        "8": {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "by_guider"}},
    }
    other, _ = picture(client, by_guider)
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("safe", {"3": {"seed": 2, "broken": True}}),
        (
            "curve",
            {
                "9": {
                    "preset": "custom",
                    "context": 0.2,
                    "axis": "noise level",
                    "curve": {"points": [[0.0, 0.0], [1.0, 0.0]]},
                }
            },
        ),
        ("safety", {"6": {"safety": 1.5}}),
    ],
)
def test_failing_input_is_named(server, name, change):
    client, _ = server
    prompt = graph("SafelightKSampler", "failing")
    prompt["6"]["inputs"]["safety"] = 0.5
    prompt["9"] = {
        "class_type": "SafelightWeightSchedule",
        "inputs": {"preset": "balanced", "context": 0.2, "axis": "noise level"},
    }
    prompt["6"]["inputs"]["schedule"] = ["9", 0]
    for node, inputs in change.items():
        prompt[node]["inputs"].update(inputs)
    with pytest.raises(Failure, match=rf"\b{name}\b"):
        client.wait(client.submit(prompt))


def test_interrupted_and_then_undisturbed(server):
    client, _ = server
    before, _ = picture(client, graph("SafelightKSampler", "before", safety=0.5, seed=21))
    endless = client.submit(graph("SafelightKSampler", "endless", safety=0.5, seed=22, steps=3000))
    deadline = time.monotonic() + 60
    while not _is_running(client, endless):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1.0)
    post(client, "/interrupt")
    entry = _history_of_an_interrupted(client, endless)
    assert not pictures(entry)
    after, _ = picture(client, graph("SafelightKSampler", "again", safety=0.5, seed=21))  # the cache has seed 22
    assert torch.equal(after, before)


def _is_running(client, prompt_id):
    queue = json.loads(client._open("/queue"))
    return any(item[1] == prompt_id for item in queue["queue_running"])


def _history_of_an_interrupted(client, prompt_id):
    try:
        return client.wait(prompt_id, timeout=60)
    except Failure:  # newer hosts file an interrupted prompt as an error
        return json.loads(client._open(f"/history/{prompt_id}"))[prompt_id]


def test_demo_model_makes_a_picture(server):
    """The shipped model, encoder and nodes together, as the example workflow has them."""
    client, _ = server
    # Numbers of their own: the oldest host takes a node of the last prompt with equal number and inputs for this one.
    prompt = {
        "21": {"class_type": "SafelightDemoLoader", "inputs": {}},
        "22": {
            "class_type": "SafelightContextEncode",
            "inputs": {
                "clip": ["21", 1],
                "prompt": "a cat and a kitchen knife on a green background",
                "safe_prompt": "",
                "method": "project",
                "strength": 1.0,
                "concepts": "weapon, something sharp",
            },
        },
        "23": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["21", 1], "text": ""}},
        "25": {"class_type": "EmptyLatentImage", "inputs": {"width": 128, "height": 128, "batch_size": 1}},
        "26": {
            "class_type": "SafelightKSampler",
            "inputs": {
                "model": ["21", 0],
                "positive": ["22", 0],
                "safe": ["22", 1],
                "negative": ["23", 0],
                "latent_image": ["25", 0],
                **host.SETTINGS,
                "safety": 1.0,
            },
        },
        "27": {"class_type": "VAEDecode", "inputs": {"samples": ["26", 0], "vae": ["21", 2]}},
        "28": {"class_type": "SaveImage", "inputs": {"images": ["27", 0], "filename_prefix": "demo"}},
    }
    seen, entry = picture(client, prompt)
    assert seen.numel() == 128 * 128 * 3
    assert seen.float().std() > 10, "the picture is blank"


def test_the_page_is_told_where_the_steps_of_a_run_lie(server):
    client, _ = server
    with urllib.request.urlopen(f"{client.url}/safelight/steps?steps=5&scheduler=karras", timeout=60) as response:
        told = json.load(response)
    starts = told["progress"]["noise level"]
    assert (len(starts), starts[0], starts == sorted(starts)) == (5, 0.0, True)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{client.url}/safelight/steps?steps=5&scheduler=none", timeout=60)
    assert refused.value.code == 400
    assert "scheduler: expected a scheduler of this ComfyUI, got 'none'" in json.load(refused.value)["error"]


def test_the_page_is_told_what_is_unsafe_in_a_prompt(server):
    client, _ = server
    told = json.loads(post(client, "/safelight/prompt", {"prompt": "a cat and a naked man"}))
    assert json.loads(told["verdict"])["words"] == ["naked"]
    assert [place["key"] for place in told["places"]] == ["naked"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(client, "/safelight/prompt", {"prompt": "a cat", "stand_ins": "cat"})
    assert refused.value.code == 400
    assert json.load(refused.value)["error"].startswith("stand_ins: expected")
