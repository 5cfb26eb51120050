"""SafelightSafeAdapter in the host: off is off, other branches stay apart, and it is what edited weights would be."""

from __future__ import annotations

import comfy.model_management
import host
import pytest
import torch
from tiny_models import conditioning, latent, sd3_model, sdxl_model

from safelight.edits import edit_file, safe_adapter
from safelight.engine import edit_files

CHUNK = 77


@pytest.fixture
def files(pack, tmp_path, monkeypatch):
    """The pack's module of edit files, with an output folder of its own."""
    files = edit_files
    monkeypatch.setattr(files.folder_paths, "get_output_directory", lambda: str(tmp_path))
    (tmp_path / "safelight").mkdir()
    return files


@pytest.fixture
def layers(pack, eps):
    """(in, out) of the tiny model's projections, by name."""
    endings = safe_adapter.ENDINGS
    modules = eps.model.diffusion_model.named_modules()
    return {name: (one.in_features, one.out_features) for name, one in modules if name.endswith(endings)}


@pytest.fixture
def write(pack, files, layers, tmp_path):
    """Writes an adapter for the tiny model, as if trained, and returns its file's name and parameters."""

    def written(name="adapter.safetensors", kind="adapter", size=0.3, tail=4, **changed):
        name = f"{tmp_path.name}_{name}"  # the host remembers the folders of other tests
        parameters = safe_adapter.start(layers, rank=2, seed=3)
        draw = torch.Generator().manual_seed(4)
        for key, value in parameters.items():
            if not key.endswith(".down"):
                value.copy_(torch.randn(value.shape, generator=draw) * size)
        settings = {"model": "the tiny model", "tail": tail, "chunk": CHUNK}
        path = tmp_path / "safelight" / name
        edit_file.write(path, kind, {**parameters, **changed}, settings)
        return name, parameters

    return written


@pytest.fixture
def apply(pack):
    def applied(model, file, strength=1.0):
        return host.call(pack.nodes["SafelightSafeAdapter"], model=model, file=file, strength=strength)[0]

    return applied


def stock(model, prompts, **settings):
    positive, _, negative = prompts
    return host.stock(model, positive, negative, latent(), **settings)


def apart(one, other):
    return float((one - other).abs().max())


def weights_instead(model, parameters, share=1.0):
    """A clone whose projections are W' for every token, by the host's own weight patches."""
    edited = model.clone()
    patches = {
        f"diffusion_model.{name.removesuffix('.own')}.weight": (share * value,)
        for name, value in parameters.items()
        if name.endswith(".own")
    }
    assert len(edited.add_patches(patches)) == len(patches) > 0
    return edited


def test_strength_zero_is_the_very_model(apply, write, eps):
    assert apply(eps, write()[0], 0.0) is eps


def test_an_adapter_that_learnt_nothing_changes_no_bit(apply, write, eps, prompts):
    name, _ = write(size=0.0)
    assert torch.equal(stock(apply(eps, name), prompts), stock(eps, prompts))


def test_other_branches_stay_as_they_are(apply, write, eps, prompts):
    """Runs of both in turn: the host sets the adapter's patches, and takes them back."""
    plain = stock(eps, prompts)
    adapted = apply(eps, write()[0])
    weak = apply(eps, write()[0], 0.5)
    first, second = stock(adapted, prompts), stock(weak, prompts)
    assert torch.equal(stock(eps, prompts), plain)
    assert torch.equal(stock(adapted, prompts), first) and torch.equal(stock(weak, prompts), second)
    assert torch.equal(stock(eps.clone(), prompts), plain)
    assert apart(first, plain) > 1e-3 and apart(second, plain) > 1e-3 and apart(first, second) > 1e-3


def test_with_every_token_in_the_tail_it_is_an_edit_of_the_weights(apply, write, eps, prompts):
    """Beside a LoRA-like patch on the same weights, whichever comes first."""
    name, parameters = write(tail=CHUNK)
    expected = stock(weights_instead(weights_instead(eps, parameters), parameters, 0.5), prompts)
    without = stock(weights_instead(eps, parameters), prompts)  # what the patch beside it is worth
    before = apply(weights_instead(eps, parameters, 0.5), name)
    after = weights_instead(apply(eps, name), parameters, 0.5)
    for model in (before, after):
        assert apart(stock(model, prompts), expected) < 0.02 * apart(without, expected)


def test_two_adapters_add_up(apply, write, eps, prompts):
    first, _ = write("first.safetensors")
    whole, quarter = stock(apply(eps, first), prompts), stock(apply(eps, first, 0.25), prompts)
    twice = stock(apply(apply(eps, first, 0.25), first, 0.75), prompts)
    assert apart(twice, whole) < 0.02 * apart(quarter, whole)


@pytest.mark.parametrize("denoise", [1.0, 0.5])
def test_it_acts_on_all_three_rows_of_a_dual_call(pack, apply, write, eps, prompts, denoise):
    """And in image-to-image."""
    name, parameters = write(tail=CHUNK)
    edited, adapted = weights_instead(eps, parameters), apply(eps, name)
    inputs = {"safety": 0.5, "schedule": pack.schedule(), "denoise": denoise}
    start = latent(seed=6)
    with host.count_rows(adapted) as seen:
        ours = pack.ksampler(adapted, *prompts, start, **inputs)
    assert set(seen.rows) == {3}
    expected, plain = (pack.ksampler(model, *prompts, start, **inputs) for model in (edited, eps))
    assert apart(ours, expected) < 0.02 * apart(plain, expected)


def test_a_prompt_that_the_host_repeats_means_the_same(apply, write, eps, prompts):
    """To batch it with a longer one. Attention to the same tokens twice is attention to them once."""
    positive, _, negative = prompts
    twice = [[torch.cat([positive[0][0]] * 2, dim=1), positive[0][1]]]
    adapted = apply(eps, write()[0])
    once, plain = (host.stock(model, positive, negative, latent()) for model in (adapted, eps))
    assert apart(host.stock(adapted, twice, negative, latent()), once) < 0.02 * apart(plain, once)


def test_a_file_of_another_kind_is_named(pack, apply, write, files, eps):
    name, _ = write("knives.safetensors", kind="erase")
    with pytest.raises(ValueError, match=f"^file: .*'adapter'.*'erase' in {name}"):
        apply(eps, name)
    node = pack.nodes["SafelightSafeAdapter"]
    assert "erase" in node.VALIDATE_INPUTS(name)
    mine, _ = write("mine.safetensors")
    assert node.VALIDATE_INPUTS(mine) is True
    listed = node.INPUT_TYPES()["required"]["file"][0]
    assert mine in listed and name not in listed
    with pytest.raises(FileNotFoundError, match="gone.safetensors"):
        apply(eps, "gone.safetensors")


def test_half_an_adapter_is_named(apply, write, layers, eps):
    layer = next(iter(layers))
    name, _ = write(**{f"{layer}.up": torch.zeros(1, 1)})
    with pytest.raises(ValueError, match=f"{name}.*{layer}"):
        apply(eps, name)


def test_a_model_that_it_does_not_fit_is_named_beside_the_file(apply, write):
    name, _ = write()
    with pytest.raises(ValueError, match=f"^model: expected the model that {name} was made for .the tiny.*, got SD3"):
        apply(sd3_model(), name)
    with pytest.raises(ValueError, match=f"^model: .*{name} was made for .the tiny.*32 wide.*, got SDXL .*48 wide"):
        apply(sdxl_model(48, 16), name)


@pytest.mark.parametrize("strength", [-0.1, 2.5, float("nan"), True, "much"])
def test_strength_is_checked(apply, write, eps, strength):
    with pytest.raises(ValueError, match="strength"):
        apply(eps, write()[0], strength)


def test_prompts_of_any_length(apply, write, eps):
    """Fewer tokens than the tail, and lengths that are no whole chunks."""
    adapted = apply(eps, write()[0])
    for tokens in (2, 60, CHUNK + 5):
        made = host.stock(adapted, conditioning(1, tokens), conditioning(2, tokens), latent(), steps=2)
        assert bool(torch.isfinite(made).all())


def test_the_host_counts_the_adapters_weights_and_moves_them_with_the_model(eps, prompts, write, apply, monkeypatch):
    file, parameters = write()
    adapted = apply(eps, file)
    ((held,),) = adapted.model_options["transformer_options"]["patches"].values()
    stored = held.patcher.model
    assert held.patcher.model_size() == sum(4 * value.numel() for value in parameters.values())
    moved = []
    monkeypatch.setattr(stored, "to", moved.append)
    stock(adapted, prompts)
    adapted.model_patches_to(adapted.offload_device)
    loaded = [each.model.model for each in comfy.model_management.current_loaded_models]
    if hasattr(adapted, "model_patches_models"):  # the host counts them
        assert stored in loaded
    else:
        assert moved == [adapted.load_device, adapted.offload_device]
    assert {tensor.data_ptr() for tensor in tensors_of(adapted)} == {part.data_ptr() for part in stored.parameters()}


def tensors_of(adapted):
    """All tensors that the adapted projections hold."""
    held = [vars(each) for each in adapted.object_patches.values()]
    lists = [value for one in held for value in one.values() if isinstance(value, torch.nn.ParameterList)]
    assert len(lists) == len(held) and not any(
        isinstance(value, torch.Tensor) for one in held for value in one.values()
    )
    return [part for parts in lists for part in parts]
