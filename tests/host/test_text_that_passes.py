"""What passes from the positive prompt to the safe one: no text, by whatever key. A mark goes with the mend."""

from __future__ import annotations

import importlib
import inspect
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.model_patcher
import comfy.samplers
import host
import pytest
import tiny_encoders
import torch
from host import base_nodes, call, extra, extra_node, has_wrappers, require, stock
from methods import differs
from test_fail_closed import routes
from test_hosts_features import controlled, entries
from tiny_models import conditioning, controlnet, latent

from safelight.text.inherit import inherit


def region_hook(seed):
    """A hook as attention-couple packs make it: in cross attention its entry reads the words of a region."""
    require(has_wrappers(), "conditioning hooks")
    import comfy.hooks

    words = conditioning(seed)[0][0]

    def read_words(q, k, v, options):
        there = words.expand(k.shape[0], -1, -1)
        return q, there, there

    hooks = comfy.hooks.HookGroup()
    hooks.add(
        comfy.hooks.TransformerOptionsHook(
            {"patches": {"attn2_patch": [read_words]}}, hook_scope=comfy.hooks.EnumHookScope.HookedOnly
        )
    )
    return {"hooks": hooks}


@pytest.mark.parametrize("safety", [0.5, 1.0])
@pytest.mark.parametrize("way", ["ksampler", "patched"])
def test_a_hook_that_carries_words_never_passes_to_the_safe_prompt(pack, eps, prompts, way, safety):
    """Or an error says so, naming safe and the hook."""
    positive, safe, negative = prompts
    hooked = entries(positive, region_hook(41))
    settings = {"steps": 1, "cfg": 1.0}  # one step without a negative: the picture is linear in the predictions
    written, guarded = (stock(eps, text, negative, latent(), **settings) for text in (hooked, safe))
    assert differs(written, stock(eps, positive, negative, latent(), **settings)), "the hook does nothing"
    sample = getattr(pack, way)
    try:
        ours = sample(eps, hooked, safe, negative, latent(), safety=safety, schedule=pack.schedule(), **settings)
    except ValueError as error:
        assert str(error).startswith("safe: ") and "hook" in str(error)
        return
    assert not differs(ours, safety * guarded + (1 - safety) * written), "the safe prompt reads the region's words"


class Tokens(dict):
    """What any tokenizer gives for a text, whatever the encoder is called."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def __missing__(self, name: str) -> list:
        self[name] = [[(self.text, 1.0)]]
        return self[name]


class AnyClip:
    """A CLIP of every kind at once: states and a pooled output that belong to the texts."""

    def tokenize(self, text: str, *_: Any, **__: Any) -> Tokens:
        return Tokens(text)

    def encode_from_tokens(self, tokens: Tokens, return_pooled: Any = False, **_: Any) -> Any:
        texts = repr((tokens.text, sorted(tokens.items())))
        ((states, extras),) = conditioning(zlib.crc32(texts.encode()))
        return (states, extras["pooled_output"]) if return_pooled else states

    def encode_from_tokens_scheduled(self, tokens: Tokens, add_dict: dict | None = None, **_: Any) -> list:
        states, pooled = self.encode_from_tokens(tokens, return_pooled=True)
        return [[states, {"pooled_output": pooled, **(add_dict or {})}]]


STANDINS = {
    "CLIP": AnyClip(),
    "CLIP_VISION_OUTPUT": SimpleNamespace(mm_projected=torch.zeros(1, 4, 8)),
    "COMFY_AUTOGROW_V3": {},
    "CONDITIONING": conditioning(1),
    "GLIGEN": SimpleNamespace(),
    "IMAGE": torch.full((1, 64, 64, 3), 0.5),
    "VAE": SimpleNamespace(encode=lambda image: torch.zeros(1, 4, 8, 8)),
}


def inputs_of(node: type, text: str) -> dict[str, Any]:
    """Values for a node's inputs, the text for every STRING. Raises KeyError where one of them can't be made up."""
    given = {}
    declared = node.INPUT_TYPES()
    for group in ("required", "optional"):
        for name, (kind, *rest) in declared.get(group, {}).items():
            options = rest[0] if rest else {}
            if kind == "STRING":
                given[name] = text
            elif isinstance(kind, (list, tuple)) or kind == "COMBO":
                given[name] = (kind if kind != "COMBO" else options["options"])[0]
            elif kind in ("INT", "FLOAT", "BOOLEAN"):
                given[name] = options.get("default", 1)
            elif kind in STANDINS or group == "required":
                given[name] = STANDINS[kind]
    return given


def written_by(node: type, text: str) -> list:
    """The first CONDITIONING that a node makes of a text."""
    return call(node, **inputs_of(node, text))[list(node.RETURN_TYPES).index("CONDITIONING")]


def node_classes() -> list[tuple[str, type]]:
    """The host's core nodes and those of its extra modules that encode texts, by name."""
    classes = list(base_nodes.NODE_CLASS_MAPPINGS.items())
    package = importlib.import_module("comfy_extras.nodes" if host.IS_INDEX_BUILD else "comfy_extras")
    for path in sorted(path for folder in package.__path__ for path in Path(folder).glob("nodes_*.py")):
        if ".encode_from_tokens" not in path.read_text(encoding="utf-8"):
            continue
        module = extra(path.stem)
        classes += getattr(module, "NODE_CLASS_MAPPINGS", {}).items()
        with_schema = inspect.getmembers(module, lambda each: inspect.isclass(each) and hasattr(each, "define_schema"))
        classes += [(name, node) for name, node in with_schema if node.__module__ == module.__name__]
    return classes


def text_nodes() -> dict[str, type]:
    """Every node of the host that makes a CONDITIONING with a CLIP and runs on stand-ins."""
    nodes = {}
    for name, node in node_classes():
        try:
            required = node.INPUT_TYPES()["required"].values()
            if "CONDITIONING" in node.RETURN_TYPES and any(kind == "CLIP" for kind, *_ in required):
                written_by(node, "a text")
                nodes[name] = node
        except Exception:  # a base class without a schema, an input that is not made up here
            continue
    return nodes


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one is other or bool(one == other)


TEXT_NODES = text_nodes()
LEAKING = {"CLIPTextEncodeControlnet", "GLIGENTextBoxApply"}  # their texts passed once


def test_the_hosts_nodes_that_encode_texts_are_found():
    assert {"CLIPTextEncode", "CLIPTextEncodeSDXL", *LEAKING} <= TEXT_NODES.keys()


@pytest.mark.parametrize("name", TEXT_NODES)
def test_no_text_that_a_node_of_the_host_writes_passes_to_the_safe_prompt(name):
    """A key whose value changes with the text holds the text."""
    one, other = (written_by(TEXT_NODES[name], text) for text in ("a kitchen knife", "a cat"))
    assert not same([entry[:2] for entry in one], [entry[:2] for entry in other]), "it has no text at all"
    ((_, passed),) = inherit([[None, {}]], one[:1])
    assert [key for key in passed if not same(passed[key], other[0][1].get(key))] == []


def at_full_weight(pack, model, positive, safe, negative, on_safe):
    """Checks that by every way the picture is stock's under `on_safe`, or that an error names the safe input."""
    expected = stock(model, on_safe, negative, latent())
    for name, sample in routes(pack).items():
        if name == "advanced":
            continue  # 20 steps, and the very code of the ksampler
        ours = sample(model, positive, safe, negative, latent(), safety=1.0, schedule=pack.schedule())
        assert not differs(ours, expected), f"{name}: the network reads the positive prompt's words"


def test_a_controlnets_own_text_never_passes_to_the_safe_prompt(pack, eps, prompts):
    positive, safe, negative = controlled(prompts, controlnet(), on_negative=False)
    control = {key: value for key, value in positive[0][1].items() if key.startswith("control")}
    node = extra_node("nodes_cond", "CLIPTextEncodeControlnet")
    clip = tiny_encoders.fitting_clip()
    positive = call(node, clip=clip, conditioning=positive, text="a kitchen knife")[0]
    with_words = {key: positive[0][1][key] for key in ("cross_attn_controlnet", "pooled_output_controlnet")}
    on_safe = entries(safe, control)
    assert differs(
        stock(eps, entries(on_safe, with_words), negative, latent()), stock(eps, on_safe, negative, latent())
    ), "the ControlNet doesn't read the words"
    at_full_weight(pack, eps, positive, safe, negative, on_safe)


class Boxes(torch.nn.Module):
    """GLIGEN in miniature: adds the text of its boxes to the hidden states."""

    def set_position(self, shape, boxes, device):
        text = sum(box[0] for box in boxes)
        return lambda x, options: x + text.mean(dim=-1).to(x).reshape(1, 1, 1)

    def set_empty(self, shape, device):
        return lambda x, options: x


def test_texts_in_boxes_never_pass_to_the_safe_prompt(pack, eps, prompts):
    positive, safe, negative = prompts
    cpu = torch.device("cpu")
    boxed = call(
        base_nodes.GLIGENTextBoxApply,
        conditioning_to=positive,
        clip=AnyClip(),
        gligen_textbox_model=comfy.model_patcher.ModelPatcher(Boxes(), load_device=cpu, offload_device=cpu),
        text="a gun",
        width=32,
        height=32,
        x=0,
        y=0,
    )[0]
    boxes = {"gligen": boxed[0][1]["gligen"]}
    assert differs(stock(eps, entries(safe, boxes), negative, latent()), stock(eps, safe, negative, latent()))
    at_full_weight(pack, eps, boxed, safe, negative, safe)


def test_a_picture_prompt_passes_to_the_safe_prompt(prompts):
    """A picture is no words; without it the safe prompt would draw another picture."""
    seen = SimpleNamespace()
    positive = call(
        base_nodes.unCLIPConditioning,
        conditioning=prompts[0],
        clip_vision_output=seen,
        strength=1.0,
        noise_augmentation=0.0,
    )[0]
    positive[0][1]["clip_vision_output"] = seen
    ((_, passed),) = inherit(prompts[1], positive)
    assert passed["unclip_conditioning"] is positive[0][1]["unclip_conditioning"]
    assert passed["clip_vision_output"] is seen
