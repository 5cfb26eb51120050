"""Calibrations on disk: which text encoder a file belongs to."""

from __future__ import annotations

import tiny_encoders
import torch

from safelight.engine import kept_spaces

TEXTS = (["a cat", "a dog"], ["a knife"], ["weapons"])


def embedding(clip):
    return clip.cond_stage_model.clip_l.transformer.get_input_embeddings().weight


def fingerprint(clip, *texts):
    return kept_spaces.fingerprint(clip, kept_spaces.weights_print(clip), *texts)


def test_the_same_weights_and_texts_have_the_same_fingerprint():
    one, other = (fingerprint(tiny_encoders.clip("SD1"), *TEXTS) for _ in range(2))
    assert one and one == other
    assert fingerprint(tiny_encoders.clip("SD1"), *TEXTS[:2], ["spiders"]) != one
    assert fingerprint(tiny_encoders.clip("SD1", seed=4), *TEXTS) != one


def test_a_single_word_with_another_meaning_is_another_encoder():
    """Its row of the table of words is a small part of all weights."""
    clip = tiny_encoders.clip("SD1")
    before = fingerprint(clip, *TEXTS)
    with torch.no_grad():
        embedding(clip)[clip.tokenize("knife")["l"][0][1][0]] *= 3.0
    assert fingerprint(clip, *TEXTS) != before


def test_a_lora_has_no_print():
    clip = tiny_encoders.clip("SD1").clone()
    name = "clip_l.transformer.text_model.encoder.layers.0.mlp.fc2.weight"
    shape = clip.cond_stage_model.state_dict()[name].shape
    assert clip.add_patches({name: (torch.ones(shape),)}, 1.0, 1.0)
    assert kept_spaces.weights_print(clip) is None
