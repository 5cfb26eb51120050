"""Latent Guard on the host's text encoders: trained, saved, loaded, asked, combined."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import comfy.model_management
import comfy.utils
import host
import pytest
import tiny_encoders
import torch
from encoder_families import FAMILIES, HERE
from planted_words import counted, meaningful_clip, patched, with_few_anchors

from bench.text import guard as bench_guard
from safelight.engine import edit_files
from safelight.text import latent_guard_fit
from safelight.text.latent_guard import train
from safelight.text.latent_guard_texts import guard_texts

CONCEPTS = "knife, gun, blood, sword"
PROBE = 2  # calls that tell whether a new encoder's rows are known


@pytest.fixture
def short(monkeypatch):
    """Trainings of a few steps, where how good they are doesn't matter."""
    monkeypatch.setattr(latent_guard_fit, "train", partial(train, steps=2))


@pytest.fixture
def make(pack):
    def run(clip, concepts=CONCEPTS, **inputs):
        return pack.nodes["SafelightLatentGuard"]().train(clip, concepts, **inputs)["result"][0]

    return run


@pytest.fixture
def read(pack):
    """A call of the node: (risk, concept, words, detector)."""
    return lambda clip, guard, prompt: pack.nodes["SafelightLatentGuardRisk"]().read(clip, guard, prompt)["result"]


@pytest.fixture(scope="module")
def demo(pack):
    session = SimpleNamespace(nodes=pack.nodes, clip=pack.nodes["SafelightDemoLoader"]().load()[1])
    return session, bench_guard.train(session, 0)


def test_on_the_small_model_it_finds_held_out_things_and_tells_them_from_look_alikes(demo):
    session, guard = demo
    figures = bench_guard.figures(bench_guard.risk_of(session, guard), bench_guard.groups(80))["auc"]
    assert figures["learned"] > 0.98 and figures["held out"] > 0.95 and figures["held out, look-alikes"] > 0.95


def test_it_says_which_concept_and_which_word(demo, read):
    session, guard = demo
    for prompt, noun in (("a cat holding a dagger", "dagger"), ("a pill and a sunflower", "pill")):
        risk, concept, words, detector = read(session.clip, guard, prompt)
        assert risk >= 0.5 and concept == noun and words.startswith(noun)
        look = detector.look(torch.zeros(1, 8, 8, 3))[0]
        assert look.score == risk and look.words == f"{noun} in the text"
    risk, concept, _, detector = read(session.clip, guard, "a spoon and a tomato")
    assert risk < 0.5 and concept == "" and not detector.look(torch.zeros(1, 8, 8, 3))[0].found


def test_it_is_one_of_several_detectors(demo, pack, read):
    session, guard = demo
    picture = torch.zeros(1, 8, 8, 3)
    unsafe, safe = (read(session.clip, guard, prompt)[3] for prompt in ("a dagger", "a spoon"))
    combine = pack.nodes["SafelightDetectors"]().make
    assert combine(unsafe, "any", detector_2=safe)[0].look(picture)[0].found
    assert not combine(unsafe, "all", detector_2=safe)[0].look(picture)[0].found
    assert combine(unsafe, "at least n", 2, risk=0.9)[0].look(picture)[0].found


def test_the_same_seed_gives_the_same_guard(make, short):
    one, again, other = (make(meaningful_clip(), seed=seed) for seed in (0, 0, 1))
    assert again.settings == one.settings
    assert all(torch.equal(tensor, again.tensors[name]) for name, tensor in one.tensors.items())
    assert not torch.equal(other.tensors["0.0.query.weight"], one.tensors["0.0.query.weight"])


def test_a_guard_from_its_file_says_the_same(demo, pack, read):
    session, guard = demo
    file = pack.nodes["SafelightSaveEdit"]().save(guard, "guard")["result"][0]
    assert pack.nodes["SafelightLoadLatentGuard"].VALIDATE_INPUTS(file) is True
    loaded = pack.nodes["SafelightLoadLatentGuard"]().load(file)[0]
    for prompt in ("a cat holding a dagger", "a spoon", ""):
        assert read(session.clip, loaded, prompt)[:3] == read(session.clip, guard, prompt)[:3]


@pytest.mark.parametrize("form", ["SD1", "SDXL", pytest.param("SD3", marks=pytest.mark.slow), "masked T5"])
def test_every_block_has_a_head_and_every_text_is_encoded_once(make, short, form):
    clip = with_few_anchors(tiny_encoders.clip(form))
    anchors = clip.tokenizer.safelight_anchors["benign"]
    texts = guard_texts(CONCEPTS.split(", "), [], 0, lambda text: True, anchors).all()
    with counted(clip) as calls:
        guard = make(clip)
    together = form == "masked T5"
    assert len(calls) <= len(texts) + PROBE + 1 and (together or len(calls) >= len(texts))
    blocks = {"SD1": 1, "SDXL": 2, "SD3": 3, "masked T5": 1}[form]
    assert sum(name.endswith(".tau") for name in guard.tensors) == blocks


def test_one_call_of_the_encoder_reads_a_prompt(make, read, short):
    clip = meaningful_clip()
    guard = make(clip)
    with counted(clip) as calls:
        read(clip, guard, "a cat")
    assert len(calls) == 1


def test_an_interrupted_training_leaves_nothing_behind_and_shows_how_far_it_was(make, monkeypatch):
    clip = meaningful_clip()
    states = {name: weight.clone() for name, weight in clip.cond_stage_model.state_dict().items()}
    texts = guard_texts(
        CONCEPTS.split(", "), [], 0, lambda text: True, clip.tokenizer.safelight_anchors["benign"]
    ).all()
    shown = []

    class Bar(comfy.utils.ProgressBar):
        def update(self, count):
            super().update(count)
            shown.append(self.current / self.total)
            if self.current == len(texts) + 3:  # of the training's steps
                comfy.model_management.interrupt_current_processing()

    monkeypatch.setattr(comfy.utils, "ProgressBar", Bar)
    with pytest.raises(BaseException) as caught:  # the host's own, which is no Exception on some
        make(clip)
    assert type(caught.value).__name__ == "InterruptProcessingException"
    assert 0 < shown[0] < shown[-1] < 1
    assert all(torch.equal(weight, states[name]) for name, weight in clip.cond_stage_model.state_dict().items())
    assert all(weight.grad is None for weight in clip.cond_stage_model.parameters())


def test_another_text_encoder_is_an_error_that_says_so(make, read, short):
    clip = meaningful_clip()
    guard = make(clip)
    skipped = clip.clone()
    skipped.clip_layer(-2)
    for other in (meaningful_clip(seed=4), skipped, with_few_anchors(tiny_encoders.clip("SDXL"))):
        with pytest.raises(ValueError, match="^guard: expected one that was trained on this text encoder"):
            read(other, guard, "a cat")
    assert read(meaningful_clip(), guard, "a cat")[0] >= 0, "the same weights in another object"
    for run in (lambda: make(patched(clip, 1)), lambda: read(patched(clip, 1), guard, "a cat")):
        with pytest.raises(ValueError, match="^clip: expected .* before that"):
            run()


LANGUAGE_MODELS = ["Z-Image", "Qwen-Image", "Lumina 2", "HiDream I1"]


def test_language_models_are_refused_by_name_before_anything_is_encoded(make):
    here = [name for name in LANGUAGE_MODELS if name in HERE]
    host.require(here, "language models as text encoders")
    for name in here:
        clip = FAMILIES[name].clip()
        with counted(clip) as calls, pytest.raises(ValueError, match="^clip: .*for Safelight Latent Guard, got one"):
            make(clip)
        assert len(calls) <= PROBE


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"concepts": ""}, "concepts: expected what counts as unsafe"),
        ({"concepts": "my dragon"}, "concepts: expected at least"),
        ({"harmless": None}, "harmless:"),
        ({"seed": "x"}, "seed:"),
    ],
)
def test_what_can_not_be_learned_is_an_error_that_names_the_input(make, inputs, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        make(meaningful_clip(), **inputs)


@pytest.mark.parametrize("link", [None, "a text", "an edit"])
def test_a_link_that_is_no_guard_is_an_error(read, link):
    edit = edit_files.Edit("erase", {}, {}) if link == "an edit" else link
    with pytest.raises(ValueError, match="^guard: expected one of the kind 'latent guard'"):
        read(meaningful_clip(), edit, "a cat")
    with pytest.raises(ValueError, match="^guard: expected heads"):
        read(meaningful_clip(), edit_files.Edit("latent guard", {}, {}), "a cat")


def test_a_guard_that_learned_nothing_has_risk_one_and_that_is_said(pack, read, short):
    """Names left out of the training are not told from harmless texts."""
    clip = tiny_encoders.clip("SD1")
    outcome = pack.nodes["SafelightLatentGuard"]().train(clip, "my dragon, zeppelins, tax fraud, kettles, maps")
    risk = read(clip, outcome["result"][0], "a cat on a table")[0]
    assert risk == 1.0 and "can't tell" in outcome["ui"]["safelight_note"][0]
