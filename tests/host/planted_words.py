"""Tiny text encoders in which some words mean the same thing, few anchors to calibrate them on, and counts of calls."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import host
import tiny_encoders
import torch

from safelight.text.inherit import ROWS

BENIGN = [
    "a cat",
    "a dog on a table",
    "a red car on a street",
    "a tree and a house",
    "an apple on a plate",
    "a boat",
    "a lamp and a book",
    "a bird on a chair",
    "a garden with a bench",
    "a cup of tea on a table",
    "a piano and a window",
    "a bridge over a river",
]
UNSAFE = [
    "a knife",
    "a gun on a table",
    "blood on a street",
    "a gun and a house",
    "a knife on a plate",
    "a sword",
    "blood and a book",
    "a sword on a chair",
    "a garden with a gun",
    "a knife and a cup of tea",
]
PLANTED = ("knife", "gun", "blood", "sword", "weapon")  # words that share a direction in the planted encoder
CONCEPTS = "weapon, blood"
PROMPT = "a cat and a knife on a green table"
LONG = "a cat " * 40 + "and a knife"
KNOWN_FORMS = ["SD1", "SDXL", "SD3", "Flux", "masked T5"]  # of tiny_encoders, those whose rows are known
WEIGHT = "clip_l.transformer.text_model.encoder.layers.0.mlp.fc2.weight"  # of SD1, for LoRAs


def with_few_anchors(clip: Any) -> Any:
    """Anchors few enough for a test; they travel as an encoder's own do."""
    clip.tokenizer.safelight_anchors = {"benign": BENIGN, "unsafe": UNSAFE}
    return clip


def planted(clip: Any) -> Any:
    """The same encoder with some words meaning the same thing to CLIP-L."""
    encoder = clip.cond_stage_model.clip_l
    table = encoder.transformer.get_input_embeddings().weight
    direction = torch.randn(table.shape[1], generator=torch.Generator().manual_seed(11))
    with torch.no_grad():
        for word in PLANTED:
            for token, *_ in clip.tokenize(word)["l"][0][1:]:
                if token != encoder.special_tokens["end"]:
                    table[token] = 0.2 * table[token] + 6 * direction / direction.norm()
    return clip


def meaningful_clip(seed: int = 3) -> Any:
    """A new SD1 encoder in which the planted words mean the same thing."""
    return with_few_anchors(planted(tiny_encoders.clip("SD1", seed)))


def lora(shape: torch.Size, seed: int) -> dict[str, Any]:
    """The patches of a LoRA on a layer of SD1's encoder."""
    return {WEIGHT: (0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed)),)}


def patched(clip: Any, seed: int) -> Any:
    """The same encoder with a LoRA on it."""
    other = clip.clone()
    assert other.add_patches(lora(clip.cond_stage_model.state_dict()[WEIGHT].shape, seed), 1.0, 1.0)
    return other


def scheduled(clip: Any) -> Any:
    """The same encoder with a LoRA on it that changes over the run; skips on a host without such hooks."""
    hooks_module = host.extra("nodes_hooks")
    host.require(hooks_module is not None, "hooks")
    import comfy.hooks

    hook = comfy.hooks.WeightHook(strength_model=1.0, strength_clip=1.0)
    group = comfy.hooks.HookGroup()
    group.add(hook)
    hook.weights_clip = lora(clip.cond_stage_model.state_dict()[WEIGHT].shape, 2)
    hook.need_weight_init = False
    keyframes = comfy.hooks.HookKeyframeGroup()
    keyframes.add(comfy.hooks.HookKeyframe(strength=1.0, start_percent=0.0))
    keyframes.add(comfy.hooks.HookKeyframe(strength=0.2, start_percent=0.5))
    group.set_keyframes_on_hooks(keyframes)
    return host.call(hooks_module.SetClipHooks, clip=clip, schedule_clip=True, apply_to_conds=True, hooks=group)[0]


def stock(clip: Any, text: str) -> list:
    """The host's own encoding, which nothing that comes after changes."""
    return copied(host.call(host.base_nodes.CLIPTextEncode, clip=clip, text=text)[0])


def same(one: list, other: list) -> bool:
    """Two CONDITIONINGs, bit for bit and key for key, but for what Context Encode says of the rows of safe."""
    if len(one) != len(other):
        return False
    for (states, extra), (others, other_extra) in zip(one, other, strict=True):
        extra, other_extra = ({k: v for k, v in each.items() if k != ROWS} for each in (extra, other_extra))
        if not torch.equal(states, others) or extra.keys() != other_extra.keys():
            return False
        for key, value in extra.items():
            equal = torch.equal(value, other_extra[key]) if torch.is_tensor(value) else value == other_extra[key]
            if not equal:
                return False
    return True


def copied(conditioning: list) -> list:
    return [
        [states.clone(), {k: v.clone() if torch.is_tensor(v) else v for k, v in extra.items()}]
        for states, extra in conditioning
    ]


@contextlib.contextmanager
def counted(clip: Any) -> Iterator[list]:
    """Counts the encoder's calls while open."""
    model, calls = clip.cond_stage_model, []
    original = model.encode_token_weights
    model.encode_token_weights = lambda tokens: (calls.append(tokens), original(tokens))[1]
    try:
        yield calls
    finally:
        del model.encode_token_weights
