"""The frames that a strip shows on its node: the pictures of its output, each a file, with what the page needs."""

from __future__ import annotations

import json
from pathlib import Path

import comfy.model_base
import numpy as np
import pytest
import torch
from host import SETTINGS, require
from PIL import Image
from safelight_pack import PlainVAE
from test_look_then_steer import CLEAR, SEEN, Script
from tiny_models import latent, video_model

from safelight.engine import strip, studio
from safelight.engine.host import folder_paths


@pytest.fixture
def made(pack, eps, prompts):
    """SafelightStrip's frames and the message to its page."""

    def sample(levels="0.5, 0, 1", model=eps, **settings):
        positive, safe, negative = prompts
        given = {**SETTINGS, "vae": PlainVAE(), "latent_image": latent(), "levels": levels, **settings}
        node = pack.nodes["SafelightStrip"]()
        outcome = node.sample(model=model, positive=positive, safe=safe, negative=negative, **given)
        (text,) = outcome["ui"]["safelight_frames"]
        assert outcome["ui"]["safelight_report"] == [outcome["result"][3]]
        return outcome["result"][1], json.loads(text)

    return sample


def pictures(told):
    """What the files hold, in the order of the message, [N, H, W, 3]."""
    files = [file for frame in told["frames"] for file in frame["pictures"]]
    folder = Path(folder_paths.get_temp_directory())
    assert all(file["type"] == "temp" for file in files)
    loaded = [np.array(Image.open(folder / file["subfolder"] / file["filename"])) for file in files]
    return torch.from_numpy(np.stack(loaded)).float() / 255


def test_the_files_are_the_frames_level_after_level(made):
    frames, told = made(latent_image=latent(batch=2), seed=7)
    assert told["seed"] == 7
    assert [(frame["safety"], len(frame["pictures"])) for frame in told["frames"]] == [(0.5, 2), (0.0, 2), (1.0, 2)]
    assert (pictures(told) - frames).abs().max() <= 1 / 255 and (frames[:2] - frames[2:4]).abs().max() > 2 / 255
    assert "found" not in told["frames"][0], "nobody looked"


def test_a_video_shows_its_middle_pictures(pack, made):
    require(hasattr(comfy.model_base, "WAN21"), "Wan")

    class VideoVAE(PlainVAE):
        def decode(self, samples):
            return torch.stack([super(VideoVAE, self).decode(samples[:, :, i]) for i in range(samples.shape[2])], dim=1)

    frames, told = made(model=video_model(), latent_image=latent(16, frames=3), vae=VideoVAE(), scheduler="simple")
    assert (pictures(told) - frames.unflatten(0, (3, 3))[:, 1]).abs().max() <= 1 / 255


def test_it_tells_what_was_found_and_which_level_is_enough_for_each_picture(made):
    detector = Script(SEEN, CLEAR, SEEN, SEEN, CLEAR, CLEAR)  # by level: .5, 0, 1
    _, told = made(latent_image=latent(batch=2), detector=detector)
    assert [frame["found"] for frame in told["frames"]] == [["a thing", ""], ["a thing", "a thing"], ["", ""]]
    assert [frame["enough"] for frame in told["frames"]] == [[False, True], [False, False], [True, False]]


def test_on_a_server_with_a_least_safety_no_lower_level_is_shown(made, tmp_path, monkeypatch):
    path = tmp_path / "policy.json"
    monkeypatch.setenv(studio.VARIABLE, str(path))
    path.write_text('{"least_safety": 0.5}')
    frames, told = made(levels="0, 0.25, 1")
    assert [frame["safety"] for frame in told["frames"]] == [0.5, 1.0]
    assert (pictures(told) - frames).abs().max() <= 1 / 255


def test_a_run_that_the_servers_log_does_not_have_leaves_no_file(made, tmp_path, monkeypatch):
    path, saved = tmp_path / "policy.json", []
    monkeypatch.setenv(studio.VARIABLE, str(path))
    monkeypatch.setattr(strip, "save_previews", saved.append)
    path.write_text('{"log": "log.jsonl"}')
    studio.server()
    (tmp_path / "log.jsonl").unlink()
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(ValueError, match="log: .* can't be written"):
        made()
    assert not saved
