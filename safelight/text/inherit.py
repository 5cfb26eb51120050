"""What passes from the positive prompt to another one: everything that is known not to be its words."""

from __future__ import annotations

from typing import Any

import torch

# Where and when an entry holds.
_PLACES = """
area mask mask_strength set_area_to_bounds strength default
start_percent end_percent clip_start_percent clip_end_percent
"""
# The ControlNet on it, which reads the entry's own text.
_CONTROL = "control control_apply_to_uncond "
# Pictures, sounds and what is told about them. A picture prompt (unCLIP, CLIP Vision) is a picture, so it passes.
_REFERENCES = """
reference_latents reference_latents_method reference_strength reference_motion ref_latent context_latents
concat_latent_image concat_mask concat_mask_index concat_image noise_concat time_dim_concat time_dim_replace
clip_vision_output clip_vision_output_ref clip_vision_output_pose clip_vision_outputs
unclip_conditioning unclip_noise_augment_merge noise_augmentation augmentation_level stable_cascade_prior
control_video vace_frames vace_mask vace_strength camera_conditions
pose_video_latent pose_strength face_video_pixels driving_mask_28ch ref_mask_28ch ref_mask_flag
keyframe_idxs generated_keyframes guiding_frame_index guide_attention_entries
minimax_keyframes minimax_refs minimax_visual_cond_noise_aug minimax_audio_cond_noise_aug
lq_latent degrade_sigma condition embeds time_conditioning
audio_embed audio_inject_scale ref_audio reference_audio_timbre_latents
"""
# Numbers beside a text, and what kind of prompt it is.
_NUMBERS = """
width height crop_w crop_h target_width target_height aspect_ratio aesthetic_score guidance conditioning_scale
fps frame_rate seconds_start seconds_total motion_bucket_id elevation azimuth ofs lyrics_strength prompt_type
"""
PASSES = frozenset((_PLACES + _CONTROL + _REFERENCES + _NUMBERS).split())

# The further texts of encoders whose network reads more than one kind of states.
_SIDE = """
text_input_ids t5xxl_ids t5xxl_weights conditioning_llama3 conditioning_mt5xl conditioning_byt5small
conditioning_lyrics audio_codes reference_latents_text_embeds cross_attn_pose sam3_multi_cond
"""
# What else describes the words of one prompt: extras of the hosts' text encoders (comfy/text_encoders, comfy/sd.py) and
# text nodes, the texts of ControlNets and of GLIGEN's boxes, and the host's own forms of an entry's text (last line).
_TEXT = """
pooled_output attention_mask attention_mask_img_shape num_layers_stacked attention_mask_mt5xl minimax_token_tags
unprocessed_ltxav_embeds cross_attn_controlnet pooled_output_controlnet gligen
cross_attn model_conds uuid
"""
SIDE_TEXTS = frozenset(_SIDE.split())
TEXT_KEYS = frozenset((_SIDE + _TEXT).split())  # never passes to another prompt

# On the safe prompt of Safelight Context Encode, where it is the prompt as written since nothing unsafe is in it.
HARMLESS = "safelight_harmless"
# On the safe prompt too, [1, T]: which of its rows stands for each row of the prompt's states.
ROWS = "safelight_rows"


def inherit(conditioning: list[Any], positive: list[Any]) -> list[Any]:
    """The conditioning with everything of its positive counterpart that is known not to be words.

    conditioning, positive: CONDITIONING as nodes pass it, lists of [tensor, dict].
    Each entry takes those keys of PASSES that it lacks, and hooks that change weights (a LoRA on a prompt): the same
    objects, so that the host shares a ControlNet between the branches and batches their rows. Equal counts pair by
    position. Otherwise every entry meets every positive one (one entry and n areas give n copies), and copies that came
    out the same are dropped. Neither input is changed.
    """
    if not positive:
        return list(conditioning)
    if len(conditioning) == len(positive):
        return [_take(entry, other) for entry, other in zip(conditioning, positive, strict=True)]
    result: list[Any] = []
    for entry in conditioning:
        copies: list[Any] = []
        for other in positive:
            copy = _take(entry, other)
            if not any(_same(copy[1], other[1]) for other in copies):
                copies.append(copy)
        result += copies
    return result


def check_hooks(safe: list[Any], positive: list[Any]) -> None:
    """Raises ValueError where the positive prompt has a hook that may carry words, and the safe one has no hooks."""
    kinds = {kind for _, extras, *_ in positive for kind in other_hooks(extras)}
    if kinds and any(extras.get("hooks") is None for _, extras, *_ in safe):
        raise ValueError(
            f"safe: expected hooks of its own, since positive has a hook ({', '.join(sorted(kinds))}) that may carry "
            "words, as attention couple and regional prompts do. Make safe with the same nodes as positive, with "
            "harmless words for every region."
        )


def other_hooks(extras: dict[str, Any]) -> list[str]:
    """The kinds of the hooks of an entry, those that change the model's weights left out."""
    kinds = [getattr(hook.hook_type, "value", hook.hook_type) for hook in getattr(extras.get("hooks"), "hooks", ())]
    return [str(kind) for kind in kinds if kind != "weight"]


def unknown_keys(safe: list[Any], positive: list[Any]) -> list[str]:
    """Notes on what the positive prompt has and nobody knows whether it is words, so that the safe one goes without."""
    had = set().union(*(extras for _, extras, *_ in safe))
    keys = set().union(*(extras for _, extras, *_ in positive)) - PASSES - TEXT_KEYS - had - {"hooks", HARMLESS}
    return [
        f"safe: `{key}` of positive is not known to Safelight and might hold words, so it does not act on safe. Apply "
        "the node that made it to safe as well."
        for key in sorted(map(str, keys))
        if not key.startswith("safelight")
    ]


def same_places(extras: dict[str, Any], others: dict[str, Any]) -> bool:
    """Whether two entries act in the same part of the picture and of the run, as strongly."""
    return all(_equal(extras.get(key), others.get(key)) for key in _PLACES.split())


def side_texts(extras: dict[str, Any]) -> list[str]:
    """The keys of an entry, or of what an encoder gives beside its states, that are further texts, sorted."""
    return sorted(key for key, value in extras.items() if key in SIDE_TEXTS and value is not None)


def same_prompt(safe: list[Any], positive: list[Any]) -> bool:
    """Whether the safe prompt, with what it inherits, is the positive one, number by number."""
    aside = {"prompt_type", "cross_attn", "model_conds", "uuid", HARMLESS, ROWS}  # the host's forms of what entry[0] is

    def rest(extras: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in extras.items() if key not in aside}

    return len(safe) == len(positive) and all(
        _equal(entry[0], other[0]) and _equal(rest(entry[1]), rest(other[1]))
        for entry, other in zip(safe, positive, strict=True)
    )


def _take(entry: Any, positive: Any) -> list[Any]:
    taken = {key: value for key, value in positive[1].items() if key in PASSES and key not in entry[1]}
    if positive[1].get("hooks") is not None and "hooks" not in entry[1] and not other_hooks(positive[1]):
        taken["hooks"] = positive[1]["hooks"]
    return [entry[0], {**entry[1], **taken}, *entry[2:]]


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        a[key] is b[key] or (isinstance(a[key], (int, float, str)) and a[key] == b[key]) for key in a
    )


def _equal(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.shape == b.shape and bool((a.to(b) == b).all())
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(_equal, a, b))
    return isinstance(a, (int, float, str, bool)) and a == b
