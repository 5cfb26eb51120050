"""SafelightTrainErase in the host: the written LoRA is the trained model, for every kind of model and method."""

from __future__ import annotations

import importlib.util
import json

import comfy.model_management
import comfy.sd
import host
import pytest
import tiny_encoders
import torch
from safetensors import safe_open
from tiny_models import conditioning, flux_model, latent, sd3_model, unet_model, video_model

from safelight.edits import duo
from safelight.engine import erase_material, erase_training, gradients
from safelight.engine.host import folder_paths
from safelight.engine.low_rank import CROSS, SELF, Adapters, attention_layers, lora_names

MODELS = {
    "noise": (unet_model, {}),
    "velocity": (lambda: unet_model("V_PREDICTION"), {}),
    "SD3": (sd3_model, {"channels": 16}),
    "Flux": (flux_model, {"channels": 16}),
    "Wan": (video_model, {"channels": 16, "frames": 1}),
}
NEWER = {"Flux": "flux", "Wan": "wan"}  # not on every host, and where it has them
CASES = [(kind, method) for kind in MODELS for method in ("SDD", "DUO")]
CASES += [("noise", "ESD"), ("noise", "Forget-Me-Not")]
SETTINGS = {"steps": 3, "rank": 2, "learning_rate": 0.01, "concepts": "blood, a kitchen knife", "cfg": 2.0}


class Interrupted(Exception):
    """Stands for the host's, which has another place on each."""


@pytest.fixture(scope="module")
def clip():
    return tiny_encoders.fitting_clip()


@pytest.fixture(autouse=True)
def output(tmp_path, monkeypatch):
    """An output folder of each test's own, and few pictures to learn from."""
    monkeypatch.setattr(folder_paths, "get_output_directory", lambda: str(tmp_path))
    monkeypatch.setattr(erase_material, "STEPS", 2)
    monkeypatch.setattr(erase_material, "KEPT", 2)
    monkeypatch.setattr(erase_material, "PAIRS", 4)
    return tmp_path / "loras"


@pytest.fixture
def train(pack, clip, tmp_path):
    """Runs the node as the executor does, in inference mode: (MODEL, the LoRA's name)."""

    def trained(model, shape=None, **inputs):
        given = {"filename_prefix": tmp_path.name, **SETTINGS, **inputs}
        with torch.inference_mode():
            image = latent(batch=2, **(shape or {}))
            return host.call(pack.nodes["SafelightTrainErase"], model=model, clip=clip, latent_image=image, **given)

    return trained


def made(kind):
    host.require(kind not in NEWER or importlib.util.find_spec(f"comfy.ldm.{NEWER[kind]}"), f"{kind} models")
    make, shape = MODELS[kind]
    return make(), shape


def picture(model, shape):
    with torch.inference_mode():
        return host.stock(model, conditioning(11), conditioning(13), latent(**shape), steps=2)


def tensors(output, file):
    with safe_open(str(output / file), framework="pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  not a dictionary


def losses(output, file):
    with safe_open(str(output / file), framework="pt") as opened:
        return json.loads(opened.metadata()["settings"])["losses"]


@pytest.mark.parametrize(("kind", "method"), CASES)
def test_the_hosts_own_loader_makes_the_trained_model_of_the_file(kind, method, train):
    """Bit for bit, and the model that was given stays as it was."""
    model, shape = made(kind)
    plain = picture(model, shape)

    trained, file = train(model, shape, method=method)

    (loaded,) = host.call(host.base_nodes.LoraLoaderModelOnly, model=model, lora_name=file, strength_model=1.0)
    assert torch.equal(picture(loaded, shape), picture(trained, shape))
    assert torch.equal(picture(model, shape), plain)
    assert float((picture(trained, shape) - plain).abs().max()) > 1e-4


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("which", [CROSS, SELF])
def test_what_is_trained_is_what_the_lora_adds_to_the_weights(kind, which):
    """Up to the half precision of the file."""
    model, shape = made(kind)
    adapters = Adapters(model, attention_layers(model, which), 2, torch.Generator().manual_seed(1))
    with torch.no_grad():
        for _, up in adapters.student.values():
            up.copy_(torch.randn(up.shape, generator=torch.Generator().manual_seed(2)) * 0.3)
    patched = model.clone()
    adapters.attach(patched)
    lora = adapters.lora(adapters.student)
    loaded, _ = comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0.0)

    plain, merged = picture(model, shape), picture(loaded, shape)
    with adapters.using(adapters.student):
        live = picture(patched, shape)

    assert float((merged - plain).abs().max()) > 1e-2
    assert torch.allclose(live, merged, atol=2e-2 * float((merged - plain).abs().max()))
    assert len(loaded.patches) == len(adapters.student)


def test_layers_are_those_of_the_method():
    unet, sd3 = unet_model(), sd3_model()

    assert all(".attn2." in layer for layer in attention_layers(unet, CROSS))
    assert all(".attn1." in layer for layer in attention_layers(unet, SELF))
    assert len(attention_layers(unet, CROSS)) == len(attention_layers(unet, SELF)) > 0
    assert attention_layers(sd3, CROSS) == attention_layers(sd3, SELF)  # joint attention


def test_layers_of_newer_models_are_those_of_the_method():
    (wan, _), (flux, _) = made("Wan"), made("Flux")

    assert all(".cross_attn." in layer for layer in attention_layers(wan, CROSS))
    assert all(".self_attn." in layer for layer in attention_layers(wan, SELF))
    assert any("single_blocks" in layer for layer in attention_layers(flux, CROSS))


def test_a_unets_lora_has_the_names_that_other_programs_read():
    names = lora_names(unet_model()).values()

    assert "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k" in names


@pytest.mark.parametrize("method", ["SDD", "ESD", "DUO", "Forget-Me-Not"])
def test_without_a_learning_rate_nothing_is_learnt(method, train, output):
    model, shape = made("noise")

    trained, file = train(model, shape, method=method, learning_rate=0.0)

    ups = [each for name, each in tensors(output, file).items() if name.endswith("lora_up.weight")]
    assert ups and all(not up.any() for up in ups)
    assert torch.equal(picture(trained, shape), picture(model, shape))


def test_duo_begins_at_log_2(train, output):
    _, file = train(made("noise")[0], method="DUO")

    assert losses(output, file)[0] == pytest.approx(0.693147, abs=1e-6)


@pytest.mark.parametrize("method", ["SDD", "ESD", "DUO", "Forget-Me-Not"])
def test_the_loss_falls(method, train, output, monkeypatch):
    """Of one draw that is taken again and again, and of DUO without its penalty, which holds a random model fast."""
    monkeypatch.setattr(erase_training, "Draw", lambda seed, step, draw=erase_training.Draw: draw(seed, 2))
    monkeypatch.setattr(duo, "preservation", lambda *_: 0.0)

    _, file = train(made("noise")[0], method=method, steps=12, concepts="blood", keep_weight=0.0)

    first, *_, last = losses(output, file)
    assert last < 0.99 * first


def test_the_same_seed_trains_the_same_lora(train, output):
    first, again, other = (train(made("noise")[0], seed=seed)[1] for seed in (1, 1, 2))

    same = [torch.equal(each, tensors(output, again)[name]) for name, each in tensors(output, first).items()]
    assert all(same)
    assert any(not torch.equal(each, tensors(output, other)[name]) for name, each in tensors(output, first).items())


@pytest.mark.parametrize("method", ["SDD", "DUO"])
def test_a_stopped_training_goes_on_as_if_it_had_not_been_stopped(method, train, output, monkeypatch):
    model, _ = made("noise")
    whole = tensors(output, train(model, method=method, steps=4)[1])
    done = []

    def interrupt():
        if len(done) == 2:
            raise Interrupted

    with monkeypatch.context() as stopping:
        stopping.setattr(comfy.model_management, "throw_exception_if_processing_interrupted", interrupt)
        stopping.setattr(erase_training.host, "preview_callback", lambda *_: lambda step, *_: done.append(step))
        with pytest.raises(Interrupted):
            train(model, method=method, steps=4)
    state = list(output.glob("*.training"))
    file = train(model, method=method, steps=4)[1]

    assert len(state) == 1 and not state[0].exists()
    assert len(losses(output, file)) == 4
    resumed = tensors(output, file)
    assert all(torch.equal(each, resumed[name]) for name, each in whole.items())


def test_another_training_does_not_go_on_from_it(train, output):
    model, _ = made("noise")
    with pytest.MonkeyPatch.context() as stopping:
        stopping.setattr(erase_training._Training, "_update", _stops_at(1))
        with pytest.raises(Interrupted):
            train(model)
    assert list(output.glob("*.training"))

    other = tensors(output, train(model, seed=5)[1])

    alone = tensors(output, train(model, seed=5)[1])
    assert all(torch.equal(each, alone[name]) for name, each in other.items())


def _stops_at(step_to_stop, update=erase_training._Training._update):
    def stopped(self, objective, step):
        if step == step_to_stop:
            raise Interrupted
        return update(self, objective, step)

    return stopped


@pytest.mark.parametrize("kind", MODELS)
def test_blocks_that_are_computed_again_give_the_same_gradients(kind, train, output, monkeypatch):
    model, shape = made(kind)
    kept = tensors(output, train(model, shape, steps=2)[1])
    calls = []

    def counted(run, *args, checkpoint=gradients.checkpoint, **kwargs):
        calls.append(run)
        return checkpoint(run, *args, **kwargs)

    monkeypatch.setattr(gradients, "checkpoint", counted)
    monkeypatch.setattr(erase_training, "LARGE", 0)

    again = tensors(output, train(model, shape, steps=2)[1])

    assert calls
    for name, each in kept.items():
        assert torch.allclose(each, again[name], atol=1e-4), name


def test_weights_that_were_loaded_in_inference_mode_can_be_trained_with(train):
    """As the executor's loaders leave them. They stay where they are in memory."""
    with torch.inference_mode():
        model = unet_model()
    weight = next(model.model.diffusion_model.parameters())
    assert weight.is_inference()
    place = weight.data_ptr()

    trained, _ = train(model)

    assert next(model.model.diffusion_model.parameters()).data_ptr() == place
    assert float((picture(trained, {}) - picture(model, {})).abs().max()) > 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision_can_be_trained(dtype, train):
    model = unet_model()
    model.model.diffusion_model.to(dtype)
    model.model.diffusion_model.dtype = dtype
    model.model.model_config.set_inference_dtype(dtype, None)

    trained, _ = train(model)

    assert torch.isfinite(picture(trained, {})).all()
    assert float((picture(trained, {}) - picture(model, {})).abs().max()) > 1e-4


def test_duo_learns_from_linked_pairs(train, output):
    model, _ = made("noise")
    unsafe, safe = latent(batch=3, seed=1), latent(batch=3, seed=2)

    file = train(model, method="DUO", unsafe=unsafe, safe=safe)[1]
    turned = train(model, method="DUO", unsafe=safe, safe=unsafe)[1]

    one, other = tensors(output, file), tensors(output, turned)
    assert any(not torch.equal(each, other[name]) for name, each in one.items())


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ({"concepts": " , "}, "^concepts: expected what to erase"),
        ({"method": "SSD"}, "^method: expected one of SDD"),
        ({"steps": 0}, "^steps: expected a number from 1 up"),
        ({"learning_rate": -1.0}, "^learning_rate: expected a number from 0 up"),
        ({"learning_rate": 1e30, "steps": 8}, "^learning_rate: expected training with finite losses"),
        ({"method": "DUO", "unsafe": latent(batch=2)}, "^safe: expected the other halves"),
        ({"method": "DUO", "unsafe": latent(batch=2), "safe": latent(batch=3)}, "^safe: expected 2 pictures"),
        ({"method": "DUO", "unsafe": latent(size=4), "safe": latent(size=4)}, "^unsafe: expected latents of the size"),
    ],
)
def test_what_can_not_work_is_an_error_that_names_the_input(inputs, error, train):
    with pytest.raises(ValueError, match=error):
        train(made("noise")[0], **inputs)


def test_forget_me_not_needs_a_unet(train):
    model, shape = made("SD3")
    with pytest.raises(ValueError, match="^model: expected a UNet"):
        train(model, shape, method="Forget-Me-Not")
