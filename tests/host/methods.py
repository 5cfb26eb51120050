"""The guidance methods to compare with, by name, and every way to sample with one of them on this host."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import host
import tiny_encoders
import torch
from host import call, count_rows, stock
from safelight_pack import custom_sample

from safelight.guidance.casg import ConflictAware
from safelight.guidance.crg import ConceptRemoval
from safelight.guidance.sld import SafeLatentDiffusion
from safelight.guidance.trasce import ModifiedNegative

# What each node gets beside model, clip and conditionings. The preset is the strongest, which acts and remembers from
# the first step on. SAFREE, whose words take the prompt's place, gets a strength at which both are evaluated.
SETTINGS: dict[str, dict[str, Any]] = {
    "SLD": {"concept": "violence, blood, knives", "preset": "max"},
    "CASG": {"categories": "violence, blood\ndrugs and needles\n\nnudity", "preset": "max"},
    "TraSCE": {"concept": "violence, blood, knives"},
    # Whatever the share: the tiny models' texts go a small part of each other's way.
    "CRG": {"categories": "violence, blood\ndrugs and needles\n\nnudity", "share": 0.0, "warm_up": 0.0},
    "SAFREE": {"prompt": "a cat and a knife on a table", "concepts": "violence, blood, knives", "strength": 0.6},
}
ALL = list(SETTINGS)
NAMES = ["SLD", "CASG", "TraSCE", "CRG"]  # those that take a direction from the noise
# For a latent, on a call where the method acts: written, negative and one for each unsafe text, or the safe one.
ROWS = {"SLD": 3, "CASG": 5, "TraSCE": 3, "CRG": 5, "SAFREE": 3}
PRESETS = ["weak", "medium", "strong", "max"]

encoder: Callable[[], Any] = functools.cache(tiny_encoders.fitting_clip)


class Method:
    """One method's nodes. `settings` of a way to sample are those of a KSampler and those of the node together."""

    def __init__(self, pack: Any, name: str) -> None:
        self.pack, self.name, self.rows = pack, name, ROWS[name]
        self.texts_called = {"CASG": "categories", "CRG": "categories", "SAFREE": "concepts"}.get(name, "concept")
        self.has_preset = "preset" in SETTINGS[name]

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def direction_class(self) -> type:
        """The class that gives the method's direction, one object a run."""
        classes = {"SLD": SafeLatentDiffusion, "CASG": ConflictAware, "TraSCE": ModifiedNegative, "CRG": ConceptRemoval}
        return classes[self.name]

    def _inputs(self, settings: dict[str, Any]) -> dict[str, Any]:
        given = {key: value for key, value in settings.items() if key not in host.SETTINGS}
        return {"clip": encoder(), **SETTINGS[self.name], **given}

    def guider(self, model: Any, positive: list, negative: list, **settings: Any) -> tuple[Any, Any]:
        """The GUIDER and the trace."""
        return call(
            self.pack.nodes[f"Safelight{self.name}Guider"],
            model=model,
            positive=positive,
            negative=negative,
            cfg=settings.get("cfg", host.SETTINGS["cfg"]),
            **self._inputs(settings),
        )

    def patch(self, model: Any, **settings: Any) -> tuple[Any, Any]:
        """The MODEL and the trace; skips on a host without wrappers."""
        host.require(host.has_wrappers(), "model wrappers")
        return call(self.pack.nodes[f"Safelight{self.name}Patch"], model=model, **self._inputs(settings))

    def by_guider(
        self, model: Any, positive: list, negative: list, latent_image: dict, **settings: Any
    ) -> torch.Tensor:
        """The latent of the guider in SamplerCustomAdvanced, with the noise and the noise levels of a KSampler."""
        return run_guider(self.guider(model, positive, negative, **settings)[0], model, latent_image, **settings)

    def by_patch(self, model: Any, positive: list, negative: list, latent_image: dict, **settings: Any) -> torch.Tensor:
        """The stock KSampler's latent behind the model patch."""
        return stock(self.patch(model, **settings)[0], positive, negative, latent_image, **sampling(settings))

    def ways(self) -> dict[str, Callable[..., torch.Tensor]]:
        """Every way to sample with the method on this host."""
        return {"guider": self.by_guider, **({"patch": self.by_patch} if host.has_wrappers() else {})}

    def holds(self, model: Any, positive: list, negative: list, latent_image: dict, **settings: Any) -> torch.Tensor:
        """Checks what holds whatever a run is given, and returns the guided latent.

        At strength 0 bits and rows are the stock KSampler's; at 1 the picture is finite, another one, and the same by
        every way. (The model patch at strength 0 is the very model, which test_methods_identity checks.)
        """
        with count_rows(model) as stock_rows:
            plain = stock(model, positive, negative, latent_image, **sampling(settings))
        with count_rows(model) as own_rows:
            off = self.by_guider(model, positive, negative, latent_image, **{**settings, "strength": 0.0})
        assert torch.isfinite(plain).all()
        assert torch.equal(off, plain), "strength 0"
        assert own_rows == stock_rows, "strength 0"
        guided = [sample(model, positive, negative, latent_image, **settings) for sample in self.ways().values()]
        assert all(torch.equal(ours, guided[0]) for ours in guided), "the ways give different pictures"
        assert torch.isfinite(guided[0]).all()
        assert differs(guided[0], plain), "unguided"
        return guided[0]


def every(pack: Any, names: list[str] = ALL) -> list[Method]:
    """All of them: for tests that a host without what they need skips as one."""
    return [Method(pack, name) for name in names]


def sampling(settings: dict[str, Any]) -> dict[str, Any]:
    """Those of the settings that are a KSampler's."""
    return {key: settings[key] for key in host.SETTINGS if key in settings}


def run_guider(guider: Any, model: Any, latent_image: dict, **settings: Any) -> torch.Tensor:
    """A run of a GUIDER as a KSampler with these settings would run."""
    settings = {**host.SETTINGS, **sampling(settings)}
    return custom_sample(guider, host.sigmas_of(model, **settings), latent_image, settings)


def nudged(conditioning: list) -> list:
    """The same prompt but for rounding, since the very same one is refused as a safe prompt."""
    return [[states * (1 + 5e-5), extras] for states, extras in conditioning]


def differs(ours: torch.Tensor, plain: torch.Tensor, by: float = 1e-3) -> bool:
    """Whether a picture is another one, by more than `by` of its length."""
    return bool(torch.linalg.norm(ours - plain) > by * torch.linalg.norm(plain))
