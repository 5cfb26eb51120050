"""Safelight Easy on tiny models of every family that the host has, and what it takes them to be made for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import comfy.latent_formats
import comfy.model_base
import encoder_families
import host
import pytest
import tiny_encoders
import tiny_models
import torch
from host import base_nodes, call, require
from tiny_families import FAMILIES, HERE

from safelight.engine import made_for as kinds

UNSAFE = {"prompt": "a cat and a knife on a table", "concepts": "weapon"}
MADE_FOR = {  # width, height, cfg
    "SD1.x": (512, 512, 7.0),
    "SDXL": (1024, 1024, 7.0),
    "SD3": (1024, 1024, 4.5),
    "Flux": (1024, 1024, 1.0),
    "Flux.2": (1024, 1024, 1.0),
    "Chroma": (1024, 1024, 4.0),
    "Qwen-Image": (1328, 1328, 4.0),
    "Lumina 2": (1024, 1024, 4.0),
    "Z-Image Turbo": (1024, 1024, 1.0),
    "HiDream I1 Full": (1024, 1024, 5.0),
    "Wan": (832, 480, 6.0),
    "Wan 2.2 (5B)": (1280, 704, 5.0),
}
VIDEO = ("Wan", "Wan 2.2 (5B)")


class Viewer:
    """A VAE of that many pixels to a latent cell, which shows a latent's first three channels, of every frame.

    It takes the pictures to encode for the frames of a video, as the host's VAEs for videos do.
    """

    def __init__(self, ratio):
        self.downscale_ratio = ratio

    def decode(self, samples):
        shown = torch.sigmoid(samples[:, :3].movedim(1, -1).float())
        return shown.repeat_interleave(self.downscale_ratio, -2).repeat_interleave(self.downscale_ratio, -3)

    def encode(self, pixels):
        cells = pixels[:, :: self.downscale_ratio, :: self.downscale_ratio].movedim(-1, 1)
        return cells.repeat(1, 6, 1, 1)[:, :16].movedim(0, 1)[None]


@dataclass(frozen=True)
class Studio:
    """A family's model, text encoder and VAE, tiny, and the pack's node and the host's nodes on them."""

    name: str
    model: Any
    clip: Any
    vae: Viewer
    node: Any

    def easy(self, prompt, safety, **settings):
        """image, before, map, and the report read."""
        node = self.node()
        outcome = node.make(self.model, self.clip, self.vae, prompt, safety, 3, **settings)["result"]
        return *outcome[:3], json.loads(outcome[3])

    def stock(self, prompt, width, height, **settings):
        """The picture of the host's own nodes."""
        latent = FAMILIES[self.name].empty_latent(width, height)
        texts = [call(base_nodes.CLIPTextEncode, clip=self.clip, text=text)[0] for text in (prompt, "")]
        made_for = {"cfg": MADE_FOR[self.name][2], "sampler_name": "euler", "scheduler": "simple"}
        samples = host.stock(self.model, *texts, latent, seed=3, **made_for, **settings)
        return call(base_nodes.VAEDecode, vae=self.vae, samples={"samples": samples})[0]


@pytest.fixture
def studio(request, pack):
    family = FAMILIES[request.param]
    require(family.is_here(), request.param)
    clip = encoder_families.FAMILIES[family.encoder].clip()
    states, further = call(base_nodes.CLIPTextEncode, clip=clip, text="a cat")[0][0]
    pooled = further.get("pooled_output")
    model = family.make(states.shape[-1], 0 if pooled is None else pooled.shape[-1])
    return Studio(request.param, family.shifted(model), clip, Viewer(family.cell), pack.nodes["SafelightEasy"])


with_every_family = pytest.mark.parametrize("studio", HERE, indirect=True)


@with_every_family
def test_a_model_gets_a_latent_of_its_own_size_and_form_and_its_cfg(studio):
    """And the picture is that of the host's own nodes."""
    width, height, cfg = MADE_FOR[studio.name]
    image, before, heat, report = studio.easy(UNSAFE["prompt"], 0.0, steps=1)
    assert torch.equal(image, studio.stock(UNSAFE["prompt"], width, height, steps=1))
    assert image.shape == before.shape == heat.shape == (1, height, width, 3)
    assert report["notes"][0] == f"{width} x {height} pixels, cfg {cfg:g}: what {studio.name} is made for."
    assert any("one frame" in note for note in report["notes"]) == (studio.name in VIDEO)


@with_every_family
def test_a_model_of_every_family_is_steered_and_shows_the_stock_picture_beside_it(studio):
    width, height = 6 * studio.vae.downscale_ratio, 4 * studio.vae.downscale_ratio
    small = {"width": width, "height": height, "steps": 6}
    image, before, heat, report = studio.easy(**UNSAFE, safety=1.0, **small)
    assert torch.equal(before, studio.stock(UNSAFE["prompt"], **small))
    assert torch.isfinite(image).all() and not torch.equal(image, before)
    assert image.shape == before.shape == heat.shape == (1, height, width, 3)
    assert (heat.amax(dim=-1) - heat.amin(dim=-1)).max() > 0.01, "colours over the grey"
    assert report["risk"] > 0.5 and any(call["w"] for call in report["weights"])
    assert torch.equal(studio.easy(**UNSAFE, safety=0.0, **small)[0], before)


@pytest.mark.parametrize("studio", ["Wan"], indirect=True)
def test_pictures_given_to_a_video_model_are_no_frames_of_one_video(studio):
    pictures = torch.rand(2, 32, 48, 3, generator=torch.Generator().manual_seed(1))
    given = {**UNSAFE, "safety": 0.0, "steps": 2, "denoise": 0.5}
    image = studio.easy(**given, image=pictures)[0]
    assert image.shape == pictures.shape
    assert torch.allclose(image[:1], studio.easy(**given, image=pictures[:1])[0], atol=1e-4)


def test_a_host_that_has_every_family_runs_them_all():
    newest = not host.IS_INDEX_BUILD and tuple(map(int, host.VERSION.split(".")[:2])) >= (0, 33)
    require(newest, "text encoders of 2026")
    assert list(MADE_FOR) == HERE


def test_a_size_and_a_cfg_of_the_artists_own_count(pack):
    model, clip = tiny_models.unet_model(), tiny_encoders.fitting_clip()

    def easy(**changed):
        given = {"width": 64, "height": 32, "cfg": 2.0, "steps": 1, "batch_size": 2, **changed}
        return pack.nodes["SafelightEasy"]().make(model, clip, Viewer(16), "a cat", 0.0, 3, **given)["result"]

    image, _, _, report, _ = easy()
    assert image.shape == (2, 32, 64, 3)
    assert json.loads(report)["notes"] == ["safety is 0: the stock sampler ran."]
    assert json.loads(easy(cfg=0.0)[3])["notes"][0].startswith("cfg 7: a guess")
    with pytest.raises(ValueError, match=r"^height: expected 0 or at least 16"):
        easy(height=8)


def of_class(name, **network):
    """Stands for a MODEL of this class of the host's."""
    base = getattr(comfy.model_base, name, None)
    require(base is not None, name)
    model = base.__new__(base)
    torch.nn.Module.__init__(model)
    model.model_config = type("Config", (), {"unet_config": network})()
    model.model_type = comfy.model_base.ModelType[network.get("type", "EPS")]
    return type("Patcher", (), {"model": model})()


@pytest.mark.parametrize(
    ("model", "network", "expected"),
    [
        ("BaseModel", {"context_dim": 768}, kinds.SD1),
        ("BaseModel", {"context_dim": 1024}, kinds.SD2),
        ("BaseModel", {"context_dim": 1024, "type": "V_PREDICTION"}, kinds.SD2_LARGE),
        ("SDXL_instructpix2pix", {"context_dim": 2048}, kinds.FAMILIES["SDXL"]),
        ("SD3", {}, kinds.FAMILIES["SD3"]),
        ("StableCascade_C", {}, kinds.UNKNOWN),
        ("Chroma", {}, kinds.FAMILIES["Chroma"]),
        ("QwenImage", {}, kinds.FAMILIES["QwenImage"]),
        ("Lumina2", {"dim": 2304}, kinds.FAMILIES["Lumina2"]),
        ("Lumina2", {"dim": 3840}, kinds.Z_IMAGE),
        ("WAN22", {}, kinds.FAMILIES["WAN22"]),
        ("Flux2", {}, kinds.FAMILIES["Flux2"]),
        ("Flux", {"yak_mlp": True}, kinds.OVIS),
        ("MageFlow", {}, kinds.FAMILIES["MageFlow"]),
    ],
)
def test_a_family_is_told_by_the_hosts_class(model, network, expected):
    assert kinds.made_for(of_class(model, **network)) == expected


class Sound(comfy.latent_formats.LatentFormat):
    latent_dimensions = 1


def test_a_model_that_draws_no_pictures_is_told_so(pack):
    model = tiny_models.unet_model()
    model.model.latent_format = Sound()
    with pytest.raises(ValueError, match="^model: expected a model that draws pictures, got BaseModel"):
        pack.nodes["SafelightEasy"]().make(model, tiny_encoders.fitting_clip(), Viewer(8), "a song", 1.0, 3)
