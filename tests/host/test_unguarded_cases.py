"""Inputs that give an unguarded picture, a crash or bad advice today. A test loses its mark with the mend.

Each states the right behaviour: guidance, or an error that names the input, or a note where the picture is right.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import math
import re
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
from host import base_nodes, call, extra, extra_node, has_wrappers, require, sigmas_of, stock
from methods import Method, differs
from safelight_pack import custom_sample
from test_context_encode import planted, with_few_anchors
from test_fail_closed import guiders_of_the_host, refused, routes
from test_hosts_features import controlled, entries, left_half
from tiny_models import conditioning, controlnet, latent

from safelight.text.conditioning import inherit

NOT_RAISED = pytest.fail.Exception  # of pytest.raises, where no error came


def unguarded(reason: str, raises: Any = AssertionError) -> pytest.MarkDecorator:
    return pytest.mark.xfail(strict=True, raises=raises, reason=reason)


# --- what passes from the positive prompt to the safe one --------------------------------------------------------


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


@unguarded("the positive prompt's hooks pass to the safe one, and some of them carry words")
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
    found = list(base_nodes.NODE_CLASS_MAPPINGS.items())
    package = importlib.import_module("comfy_extras.nodes" if host.IS_INDEX_BUILD else "comfy_extras")
    for path in sorted(path for folder in package.__path__ for path in Path(folder).glob("nodes_*.py")):
        if ".encode_from_tokens" not in path.read_text(encoding="utf-8"):
            continue
        module = extra(path.stem)
        found += getattr(module, "NODE_CLASS_MAPPINGS", {}).items()
        with_schema = inspect.getmembers(module, lambda each: inspect.isclass(each) and hasattr(each, "define_schema"))
        found += [(name, node) for name, node in with_schema if node.__module__ == module.__name__]
    return found


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
LEAK = unguarded("a key that holds words besides the prompt's own passes to the safe prompt")
LEAKING = {"CLIPTextEncodeControlnet": LEAK, "GLIGENTextBoxApply": LEAK}


def test_the_hosts_nodes_that_encode_texts_are_found():
    assert {"CLIPTextEncode", "CLIPTextEncodeSDXL", *LEAKING} <= TEXT_NODES.keys()


@pytest.mark.parametrize("name", [pytest.param(name, marks=LEAKING.get(name, ())) for name in TEXT_NODES])
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


@LEAK
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


@LEAK
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
    own = {"gligen": boxed[0][1]["gligen"]}
    assert differs(stock(eps, entries(safe, own), negative, latent()), stock(eps, safe, negative, latent()))
    at_full_weight(pack, eps, boxed, safe, negative, safe)


# --- a safe prompt, a mask or a curve of nothing -----------------------------------------------------------------


def masked(safe, mask, strength):
    node = base_nodes.ConditioningSetMask
    return call(node, conditioning=safe, mask=mask, strength=strength, set_cond_area="default")[0]


NOWHERE = {
    "mask of zeros": lambda safe: masked(safe, torch.zeros(1, 64, 64), 1.0),
    "mask of NaN": lambda safe: masked(safe, torch.full((1, 64, 64), math.nan), 1.0),
    "mask strength 0": lambda safe: masked(safe, left_half(), 0.0),
    "area strength 0": lambda safe: entries(safe, {"area": (8, 8, 0, 0), "strength": 0.0}),
}


@unguarded("a safe prompt that reaches no cell leaves the run to the positive one without a word", NOT_RAISED)
@pytest.mark.parametrize("place", list(NOWHERE))
def test_a_safe_prompt_that_reaches_no_cell_is_refused(pack, eps, prompts, place):
    positive, safe, negative = prompts
    for sample in routes(pack).values():
        refused("safe: ", sample, eps, positive, NOWHERE[place](safe), negative, latent(), steps=2, safety=1.0)


@unguarded("a height above 0 that no picture shows counts as guidance", NOT_RAISED)
@pytest.mark.parametrize("height", [1e-12, 5e-324])
def test_a_curve_of_next_to_nothing_is_refused(pack, eps, prompts, height):
    curve = {"points": [[0, height], [1, height]], "interpolation": "linear"}
    for name, sample in routes(pack).items():
        with pytest.raises(ValueError, match="curve"):
            sample(eps, *prompts, latent(), steps=2, safety=1.0, schedule=curve)
            pytest.fail(f"{name} gave a picture")


@unguarded("a mask above 0 that no picture shows counts as guidance", NOT_RAISED)
def test_a_mask_of_next_to_nothing_is_refused(pack, eps, prompts):
    for sample in routes(pack).values():
        refused("mask: ", sample, eps, *prompts, latent(), steps=2, safety=1.0, mask=torch.full((1, 64, 64), 1e-30))


def said(name, run):
    """Checks that a run is refused by an error that names the input, or has a note that does."""
    try:
        notes = run()["notes"]
    except ValueError as error:
        assert str(error).startswith(f"{name}: ")
        return
    assert any(re.search(rf"\b{name}\b", note) for note in notes), f"no note names {name}: {notes}"


@unguarded("the report says that the run was steered, and nothing says that both prompts are the same")
@pytest.mark.parametrize("way", ["reported", "strip"])
def test_a_safe_prompt_that_is_the_positive_one_is_said(pack, eps, prompts, way):
    positive, _, negative = prompts
    twin = [[positive[0][0].clone(), dict(positive[0][1])]]
    for safe in (positive, twin):
        said("safe", lambda safe=safe: getattr(pack, way)(eps, positive, safe, negative, latent(), steps=2)[1])


@unguarded("nothing says that safe is the prompt as written")
@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("strength", {"method": "project", "strength": 0.0}),
        ("strength", {"method": "subtract", "strength": 0.0}),
        ("safe_prompt", {"method": "typed", "safe_prompt": "a cat and a knife"}),
    ],
    ids=["project", "subtract", "typed"],
)
def test_context_encode_says_where_safe_is_the_prompt_as_written(pack, name, inputs):
    clip = with_few_anchors(planted(tiny_encoders.clip("SD1")))
    node = pack.nodes["SafelightContextEncode"]()

    def verdict():
        out = node.encode(clip, "a cat and a knife", concepts="weapon, blood", **inputs)
        (positive, _), (safe, _) = (out["result"][i][0] for i in (0, 1))
        assert not differs(safe, positive, by=1e-5)
        return json.loads(out["ui"]["safelight_verdict"][0])

    said(name, verdict)


# --- noise levels ------------------------------------------------------------------------------------------------


def guider_of(pack, model, prompts, **settings):
    positive, safe, negative = prompts
    node = pack.nodes["SafelightGuider"]
    return call(node, model=model, positive=positive, safe=safe, negative=negative, cfg=5.0, **settings)[0]


def stock_guider(model, prompts):
    node = extra_node("nodes_custom_sampler", "CFGGuider")
    return call(node, model=model, positive=prompts[0], negative=prompts[2], cfg=5.0)[0]


@unguarded("only a last noise level of exactly 0 counts as a picture, so the last steps are not kept guarded")
@pytest.mark.parametrize(("safety", "sigmas"), [(0.2, [14.6, 5.0, 1e-3]), (1.0, [14.0, 0.03])], ids=str)
def test_a_run_that_ends_just_above_zero_is_guided(pack, eps, prompts, safety, sigmas):
    """What is left of the noise, no eye sees; the model's own noise levels end there."""
    plain = custom_sample(stock_guider(eps, prompts), torch.tensor(sigmas), latent(), host.SETTINGS)
    ours = custom_sample(guider_of(pack, eps, prompts, safety=safety), torch.tensor(sigmas), latent(), host.SETTINGS)
    assert differs(ours, plain), "unguarded"


# --- tiles -------------------------------------------------------------------------------------------------------


def euler_on_halves(model, x, sigmas, extra_args=None, **_):
    """Euler's method, the model seeing the left and the right half of the picture one by one."""
    for sigma, following in zip(sigmas, sigmas[1:], strict=False):
        halves = [model(half, sigma.expand(x.shape[0]), **extra_args) for half in x.chunk(2, dim=-1)]
        x = x + (x - torch.cat(halves, dim=-1)) / sigma * (following - sigma)
    return x


@unguarded("the whole mask is squeezed onto every tile")
@pytest.mark.parametrize("way", ["guider", "patch"])
def test_a_tile_gets_its_own_part_of_the_mask(pack, eps, prompts, way):
    """Or an error that names the mask. The mask is the right half, which is the second tile."""
    positive, safe, negative = prompts
    custom = extra("nodes_custom_sampler")

    def sample(guider):
        return call(
            custom.SamplerCustomAdvanced,
            noise=call(custom.RandomNoise, noise_seed=7)[0],
            guider=guider,
            sampler=comfy.samplers.KSAMPLER(euler_on_halves),
            sigmas=sigmas_of(eps, steps=1),
            latent_image=latent(),
        )[0]["samples"]

    settings = {"safety": 1.0, "schedule": pack.schedule(), "mask": 1 - left_half()}
    if way == "guider":
        guider = guider_of(pack, eps, prompts, **settings)
    else:
        guider = stock_guider(pack.patch(eps, safe, **settings), prompts)
    written, guarded = (sample(stock_guider(eps, (text, safe, negative))) for text in (positive, safe))
    try:
        ours = sample(guider)
    except ValueError as error:
        assert str(error).startswith("mask: ")
        return
    assert torch.allclose(ours[..., 4:], guarded[..., 4:], atol=1e-4), "a part of the second tile is unguarded"
    assert torch.allclose(ours[..., :4], written[..., :4], atol=1e-4), "a part of the first tile is guarded"


@unguarded("a mask of another shape than the picture is squeezed onto it, a tile's run among them", NOT_RAISED)
def test_a_mask_of_another_shape_than_the_picture_is_refused(pack, eps, prompts):
    """A sampler that runs tile by tile hands over a tile as the picture: where it lies, nothing tells."""
    tile = {"samples": latent()["samples"][..., :4]}
    for sample in routes(pack).values():
        refused("mask: ", sample, eps, *prompts, tile, steps=2, mask=1 - left_half())


# --- other packs' guiders ----------------------------------------------------------------------------------------


def run_to_zero(guider, model):
    return custom_sample(guider, sigmas_of(model, steps=2), latent(), host.SETTINGS)


def guided_or_refused(guider, model, plain):
    """Checks that a guider guides, or refuses with an error that names the safe prompt."""
    try:
        ours = run_to_zero(guider, model)
    except ValueError as error:
        assert str(error).startswith("safe: ")
        return
    assert differs(ours, plain), "unguarded"


@unguarded("a guider whose conditionings were replaced misses `safe`", KeyError)
def test_a_copied_guider_without_its_safe_prompt_guides_or_says_so(pack, eps, prompts):
    """As packs do that set the conditionings of a tile or a region on a copy of the guider."""
    guider = copy.copy(guider_of(pack, eps, prompts, safety=1.0))
    guider.original_conds = {key: guider.original_conds[key] for key in ("positive", "negative")}
    guided_or_refused(guider, eps, run_to_zero(stock_guider(eps, prompts), eps))


@unguarded("the guidance is in the guider's class alone, which a rebuilt guider does not have")
def test_a_stock_guider_rebuilt_from_ours_guides_or_says_so(pack, eps, prompts):
    ours = guider_of(pack, eps, prompts, safety=1.0)
    rebuilt = comfy.samplers.CFGGuider(ours.model_patcher)
    rebuilt.original_conds = {key: ours.original_conds[key] for key in ours.original_conds}
    rebuilt.set_cfg(ours.cfg)
    guided_or_refused(rebuilt, eps, run_to_zero(stock_guider(eps, prompts), eps))


@unguarded("the advice is to take the patch away, which leaves the picture unguarded")
@pytest.mark.parametrize("name", ["Safelight", "SLD"])
def test_the_patchs_refusal_of_a_guider_advises_a_guarded_way(pack, eps, prompts, name):
    patched = pack.patch(eps, prompts[1]) if name == "Safelight" else Method(pack, name).patch(eps)[0]
    for guider in guiders_of_the_host(patched, prompts):
        text = refused("model: ", run_to_zero, guider, eps)
        assert "without the patch" not in text
        assert f"{name} Guider" in text or "CFGGuider" in text
