"""The related methods on the demo model: each gets the prompt and the concept words, as its authors have it.

Concept words are kinds ("a weapon"), never a thing's noun. SLD, TraSCE and the negative prompt read them as one text,
CASG and CRG as one text a kind, SAFREE, AdaVD, GIE and Semantic Surgery as phrases. Edits are made once by their
nodes, as their defaults have it: UCE and RECE erase the kinds, a redaction reads them as REFERENCE, Safe-CLIP makes its
captions of them and of what the pack's own tables call so. What takes long to train is not trained here: the Safe
Adapter and the LoRAs of Safelight Train Erase are those in demo/weights; another adapter takes part where
`python -m demo.adapter train` has left it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from demo import world
from demo.session import CFG, ROOT, DemoSession, sample_with
from safelight.edits import edit_file
from safelight.text.conditioning import together

KINDS = "\n".join(", ".join(world.KIND_PHRASES[kind]) for kind in world.UNSAFE_KINDS)
PHRASES, REFERENCE = KINDS.replace(", ", "\n"), "a toy"
TEXTS = {
    **{name: {"concept": world.CONCEPTS} for name in ("SLD", "TraSCE")},
    **{name: {"categories": KINDS} for name in ("CASG", "CRG")},
    "GrowthInhibitors": {"concepts": PHRASES},
}
ERASE = {"UCE": 0, "RECE": 3}  # rounds
REDACT = {"redaction ridge": "ridge", "redaction network": "network"}  # forms
SAFE_CLIP = {"Safe-CLIP": "own twin", "Safe-CLIP nearest": "nearest safe caption"}  # targets
ADAPTERS = {"Safe Adapter": "safe_adapter_erase.safetensors", "ShieldDiff adapter": "safe_adapter_shield.safetensors"}
LORAS = {name: f"erase_{name.lower()}.safetensors" for name in ("SDD", "ESD", "DUO", "Forget-Me-Not")}
TRAINED = ADAPTERS | LORAS
PLACES = (ROOT / "demo" / "weights", ROOT / "output" / "training")
Guided = tuple[list[int], Any]  # which of the prompts a guider is of, and the guider


def trained(name: str) -> Path | None:
    """The file of a Safe Adapter or a LoRA, where there is one; None for other methods."""
    files = (folder / TRAINED[name] for folder in PLACES if name in TRAINED)
    return next((file for file in files if file.is_file()), None)


def missing(name: str) -> bool:
    """Whether this is an edit that is trained, and was not."""
    return name in TRAINED and trained(name) is None


def print_missing() -> None:
    """On the console, those that take no part."""
    for name in filter(missing, TRAINED):
        made_by, _, word = Path(TRAINED[name]).stem.rpartition("_")
        command = f"train_erase --method {word}" if made_by == "erase" else f"adapter train --reward {word}"
        print(f"{name}: left out; `python -m demo.{command}` trains it", file=sys.stderr)


class Lora(NamedTuple):
    """A file of demo/train_erase.py."""

    tensors: dict[str, Any]
    settings: dict[str, Any]


def _read_lora(file: Path | None) -> Lora:
    from safetensors import safe_open

    with safe_open(str(file), framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  no dictionary
        return Lora(tensors, json.loads(opened.metadata()["settings"]))


class Methods:
    """Guiders of the methods for batches of different prompts, and the latents they make."""

    def __init__(self, session: DemoSession) -> None:
        self.session = session
        self._edits: dict[str, tuple[Any, float]] = {}  # as their nodes give them, and the seconds that they took

    def negative(self, prompts: list[str]) -> Guided:
        """The stock guider with the concepts as the negative prompt."""
        return self._stock(prompts, self.session.model, self.session.clip, self.session.encode(world.CONCEPTS))

    def noise(self, prompts: list[str], node: str, strength: float, **settings: Any) -> Guided:
        """The guider of a node: "SLD", "CASG", "CRG", "TraSCE" or "GrowthInhibitors"; strength 1 is the published
        method."""
        guide = self.session.nodes[f"Safelight{node}Guider"]().guide
        conds = self._positive(prompts, self.session.clip), self.session.negative
        inputs = {**TEXTS[node], "strength": strength, **settings}
        return list(range(len(prompts))), guide(self.session.model, self.session.clip, *conds, CFG, **inputs)[0]

    def safree(self, prompts: list[str], variant: str, strength: float) -> list[Guided]:
        """SAFREE steers for as long as a prompt asks for: only prompts with the same window, and with trigger words or
        all without, can share a run."""
        from safelight.engine.guider import make_guider
        from safelight.engine.method_setup import safree_setup
        from safelight.engine.safree_prompt import encode_concepts, encode_safe

        model, clip = self.session.model, self.session.clip
        safe = [encode_safe(clip, prompt, world.CONCEPTS, variant) for prompt in prompts]
        concepts = encode_concepts(clip, world.CONCEPTS)
        windows: dict[tuple[int, bool], list[int]] = {}
        for i, each in enumerate(safe):
            windows.setdefault((each.t, bool(each.words)), []).append(i)
        guided = []
        for places in windows.values():
            conditioning = together([safe[i].conditioning for i in places])
            setup = safree_setup(replace(safe[places[0]], conditioning=conditioning), concepts, strength)
            positive = self._positive([prompts[i] for i in places], clip)
            guided.append((places, make_guider(model, positive, self.session.negative, CFG, setup)))
        return guided

    def on_model(self, prompts: list[str], node: str, strength: float, **settings: Any) -> Guided:
        """The stock guider with a model that a node has changed. node: "AdaVD" or "GrowthInhibitors"."""
        change, clip = self.session.nodes[f"Safelight{node}"]().apply, self.session.clip
        (model,) = change(self.session.model, clip, PHRASES, strength=strength, **settings)
        return self._stock(prompts, model, clip, self.session.negative)

    def in_text(self, prompts: list[str], node: str, strength: float) -> Guided:
        """The stock guider with conditionings that a node has made of the prompts. node: "SemanticSurgery"; strength 1
        is the published method."""
        encode = self.session.nodes[f"Safelight{node}"]().encode
        made = [encode(self.session.clip, prompt, world.CONCEPTS, strength)["result"][0] for prompt in prompts]
        return self._guided(self.session.model, together(made), self.session.negative)

    def edited(self, prompts: list[str], name: str, strength: float) -> Guided:
        """The stock guider with a model or a text encoder that was edited, at a strength."""
        import comfy.sd

        from safelight.engine import adapted_model, erase, redact, redacted_clip

        edit, (model, clip) = self._edit(name)[0], (self.session.model, self.session.clip)
        if name in ADAPTERS:
            model = adapted_model.adapted(model, edit, name, strength)
        elif name in LORAS:  # as the host's Load LoRA has it
            model = comfy.sd.load_lora_for_models(model, None, edit.tensors, strength, 0.0)[0]
        elif name in ERASE:
            model = erase.apply_edit(model, edit, strength)
        else:
            clip = redacted_clip.redacted(clip, *redact.maps_of(edit, name), strength)
        return self._stock(prompts, model, clip, self.session.encode("", clip))

    def price(self, name: str) -> dict[str, float]:
        """{"seconds": to make the edit, "bytes": of its file}; of what is trained those of its training and of its
        file."""
        (edit, seconds), file = self._edit(name), trained(name)
        with tempfile.TemporaryDirectory() as folder:
            if file is None:
                file = Path(folder) / "edit.safetensors"
                edit_file.write(file, edit.kind, edit.tensors, edit.settings)
            return {"seconds": seconds, "bytes": file.stat().st_size}

    def latents(self, guider: Any, numbers: list[int], start: Any = None) -> tuple[Any, int]:
        """As DemoSession.latents, with a guider: latents, and rows of model evaluation."""
        import torch

        from safelight.engine.guider import count_rows
        from safelight.engine.run_record import RunRecord

        (latent, seed, denoise), record = self.session.begin(numbers, start), RunRecord()
        inputs = {"denoise": denoise, "numbers": numbers, "disable_pbar": True}
        with torch.inference_mode(), count_rows(guider, record):
            return sample_with(self.session.model, guider, latent, seed, **inputs), record.rows

    def _edit(self, name: str) -> tuple[Any, float]:
        if name not in self._edits:
            began, nodes, clip = time.perf_counter(), self.session.nodes, self.session.clip
            if name in ERASE:
                edit = nodes["SafelightErase"]().erase(self.session.model, clip, PHRASES, epochs=ERASE[name])[1]
            elif name in REDACT:
                edit = nodes["SafelightRedact"]().redact(clip, PHRASES, REFERENCE, form=REDACT[name])[1]
            elif name in SAFE_CLIP:
                edit = nodes["SafelightSafeCLIP"]().train(clip, PHRASES, target=SAFE_CLIP[name])[1]
            elif name in LORAS:
                edit = _read_lora(trained(name))
            else:
                edit = edit_file.Edit("adapter", *edit_file.read(trained(name), "adapter"))
            taken = edit.settings["seconds"] if name in TRAINED else time.perf_counter() - began
            self._edits[name] = edit, taken
        return self._edits[name]

    def _stock(self, prompts: list[str], model: Any, clip: Any, negative: Any) -> Guided:
        """The stock guider."""
        return self._guided(model, self._positive(prompts, clip), negative)

    def _guided(self, model: Any, positive: list[Any], negative: Any) -> Guided:
        """The stock guider with a conditioning of one row for each prompt."""
        from safelight.engine.guider import make_guider

        return list(range(len(positive[0][0]))), make_guider(model, positive, negative, CFG, None)

    def _positive(self, prompts: list[str], clip: Any) -> list[Any]:
        return together([self.session.encode(prompt, clip) for prompt in prompts])
