"""The Safe Adapter's training on a toy denoiser: the reward climbs, runs go on where they stopped, anchors hold."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from demo import adapter, rewards, world
from demo.policy import Attached, Policy, Settings
from safelight.edits import edit_file, safe_adapter

LAYER = "attn2.to_k"
WIDTH, SHAPE = 8, (1, 2, 2)


class Toy(nn.Module):
    """Predicts the latent itself, moved by the text; the darker the clean latent, the surer a dagger is seen in it."""

    def __init__(self):
        super().__init__()
        self.attn2 = nn.Module()
        self.attn2.to_k = nn.Linear(WIDTH, 4, bias=False).requires_grad_(False)
        nn.init.zeros_(self.attn2.to_k.weight)

    def forward(self, x, times, context):
        return x + self.attn2.to_k(context).mean(dim=1).view(-1, *SHAPE)


def decode(latents):
    scores = torch.zeros(len(latents), len(world.THINGS))
    scores[:, world.INDEX["dagger"]] = (-2 * latents.mean(dim=(1, 2, 3))).sigmoid()
    return scores, torch.full((len(latents), len(world.COLOURS)), 1 / len(world.COLOURS))


def states(text):
    draw = torch.Generator().manual_seed(sum(map(ord, text)))
    common = torch.ones(1, safe_adapter.CHUNK, WIDTH)
    return common * bool(text) + 0.3 * torch.randn(common.shape, generator=draw)


def training(out, epochs, *words):
    options = adapter.arguments().parse_args(
        [
            "train",
            "--epochs",
            str(epochs),
            "--out",
            str(out),
            "--prompts",
            "6",
            "--pictures",
            "6",
            "--batch",
            "3",
            "--steps",
            "4",
            "--early",
            "3",
            "--rate",
            "0.003",
            "--device",
            "cpu",
            "--clip",
            "0.2",
            *words,
        ]
    )
    settings = Settings(**{name: getattr(options, name) for name in Settings.__dataclass_fields__})
    toy = Toy()
    started = safe_adapter.start({LAYER: (WIDTH, 4)}, options.rank, options.seed)
    parameters = {name: value.requires_grad_() for name, value in started.items()}
    alphas = torch.linspace(0.999, 0.01, 1000)
    policy = Policy(toy, Attached(toy, parameters, options.tail), parameters, alphas, states(""), SHAPE, settings)
    return adapter.Training(options, out, policy, states, decode)


@pytest.fixture
def run(tmp_path):
    def ran(name, epochs, *words):
        made = training(tmp_path / f"{name}.safetensors", epochs, *words)
        made.run()
        return made

    return ran


def test_the_reward_climbs_and_the_file_is_an_adapter(run, tmp_path):
    made = run("climb", 30, "--anchor", "0", "--benign", "0")
    safe = [one["safe"] for one in made.curves]
    assert sum(safe[-5:]) / 5 > safe[0] + 0.2
    tensors, settings = edit_file.read(tmp_path / "climb.safetensors", "adapter")
    assert settings["epochs"] == 30 and settings["reward"] == "erase" and settings["tail"] == safe_adapter.TAIL
    assert set(safe_adapter.projections(tensors)) == {LAYER}
    assert {tensor.dtype for tensor in load_file(tmp_path / "climb.safetensors").values()} == {torch.float16}
    assert json.loads((tmp_path / "climb.json").read_text())["epochs"] == made.curves
    assert (tmp_path / "climb.png").stat().st_size > 1000


def test_a_run_goes_on_where_it_stopped(run, tmp_path):
    whole = run("whole", 4)
    run("parts", 2)
    assert len(json.loads((tmp_path / "parts.json").read_text())["epochs"]) == 2
    parts = run("parts", 4)
    for name, value in whole.policy.parameters.items():
        assert torch.equal(parts.policy.parameters[name], value), name
    assert [one["epoch"] for one in parts.curves] == [0, 1, 2, 3]
    with pytest.raises(SystemExit, match="seed"):
        run("parts", 6, "--seed", "1")


def test_the_anchor_holds_benign_prompts(run):
    """Divergence from the model without the adapter, on benign prompts, after the same epochs."""
    apart = [run(f"anchor{weight}", 12, "--anchor", weight, "--benign", "0.5").curves for weight in ("1e-9", "30")]
    loose, held = (sum(one["divergence"] for one in curves[-3:]) for curves in apart)
    assert held < 0.5 * loose


def test_what_is_drawn_is_what_is_learnt_from(run):
    """Before the first update of an epoch the probabilities are those of the drawing, exactly."""
    made = run("fresh", 1, "--updates", "1")
    assert made.curves[0]["clipped"] == 0.0


def test_pictures_of_no_reward_teach_nothing(tmp_path, monkeypatch):
    made = training(tmp_path / "none.safetensors", 1, "--anchor", "0")
    nothing = torch.full((18,), torch.nan)
    monkeypatch.setattr(rewards, "judge", lambda *_: rewards.Rewards(nothing, torch.zeros(18), torch.zeros(18)))
    made.run()
    assert all(torch.count_nonzero(value) == 0 for name, value in made.policy.parameters.items() if ".down" not in name)
