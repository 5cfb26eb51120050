"""A server whose owner asks something of every node: the file, a detector, ways to sample there, the log's lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from host import SETTINGS, call, extra, sigmas_of
from test_look_then_steer import Script
from tiny_models import latent

from safelight.engine import studio

RUN = {**SETTINGS, "steps": 10}


def file_writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes the file of the server's owner: a text, or keys. Gives its path."""

    def write(text: str | None = None, **keys: Any) -> Path:
        monkeypatch.setenv(studio.VARIABLE, str(path))
        path.write_text(json.dumps(keys) if text is None else text)
        return path

    return write


def scripted_detector(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, str]]]:
    """A detector of the server's that says in turn what it is told; gives what the file has to name."""
    detector = Script()
    monkeypatch.setitem(studio.detector_makers, "Scripted", lambda: detector)

    def say(*scores: float) -> list[dict[str, str]]:
        detector.scores = list(scores)
        return [{"node": "Scripted"}]

    return say


def ways_to_sample(pack: Any, eps: Any, prompts: tuple[list, list, list]) -> dict[str, Callable[..., torch.Tensor]]:
    """By node, how to sample with it: the latents for inputs beside those of the run."""

    def advanced(*given, **settings):
        own = {("noise_seed" if name == "seed" else name): value for name, value in RUN.items() if name != "denoise"}
        return pack.advanced(*given, **{**own, **settings})

    def custom(model, positive, safe, negative, latent_image, **settings):
        module = extra("nodes_custom_sampler")
        return call(
            pack.nodes["SafelightSamplerCustom"],
            model=model,
            positive=positive,
            safe=safe,
            negative=negative,
            noise=call(module.RandomNoise, noise_seed=RUN["seed"])[0],
            sampler=call(module.KSamplerSelect, sampler_name=RUN["sampler_name"])[0],
            sigmas=sigmas_of(model, **RUN),
            latent_image=latent_image,
            cfg=RUN["cfg"],
            **settings,
        )[0]["samples"]

    def strip(*given, safety, **settings):
        return pack.strip(*given, levels=f"{safety}, {safety / 2 + 0.001}", **{**RUN, **settings})[0]

    def patched(model, positive, safe, negative, latent_image, **settings):
        return pack.patched(model, positive, safe, negative, latent_image, **{**RUN, **settings})

    found = {
        "SafelightKSampler": lambda *given, **settings: pack.ksampler(*given, **{**RUN, **settings}),
        "SafelightKSamplerAdvanced": advanced,
        "SafelightSamplerCustom": custom,
        "SafelightStrip": strip,
        "SafelightGuider": lambda *given, **settings: pack.custom(*given, **{**RUN, **settings}),
        "SafelightModelPatch": patched,
    }
    positive, safe, negative = prompts

    def way(name):
        def sample(pictures=1, **settings):
            given = {"positive": positive, "safe": safe, "negative": negative, **settings}
            conds = [given.pop(name) for name in ("positive", "safe", "negative")]
            return found[name](eps, *conds, latent(batch=pictures), **given)

        return sample

    return {name: way(name) for name in found if name in pack.nodes}


def log_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
