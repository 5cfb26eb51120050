"""Checkpoints with quantised layers: edits reach the weights that read texts, quantised or not."""

from __future__ import annotations

import json

import comfy.ops
import pytest
import tiny_encoders
import torch
from host import accepts, require
from test_edit import drawn, erased, load, save
from tiny_models import unet_model

from safelight.engine import edit_files

OTHER, TARGET = ".attn1.to_q", ".attn2.to_v"  # how the names of the quantised layers end


@pytest.fixture
def quantised():
    """quantised(ending): a model whose layers of such names are kept in eight bits, as newer hosts load them."""
    ops = getattr(comfy.ops, "mixed_precision_ops", None)
    require(ops is not None and accepts(ops, "compute_dtype"), "quantised layers")
    linear = ops(compute_dtype=torch.float32).Linear

    def made(ending):
        model = unet_model()
        network = model.model.diffusion_model
        for name in [name for name, _ in network.named_modules() if name.endswith(ending)]:
            stored = {key: value.clone() for key, value in network.get_submodule(name).state_dict().items()}
            outer, inner = stored["weight"].shape
            layer = linear(inner, outer, bias="bias" in stored)
            stored["weight_scale"] = stored["weight"].abs().amax() / 448.0
            stored["weight"] = (stored["weight"] / stored["weight_scale"]).to(torch.float8_e4m3fn)
            form = json.dumps({"format": "float8_e4m3fn", "full_precision_matrix_mult": True})
            stored["comfy_quant"] = torch.tensor(list(form.encode()), dtype=torch.uint8)
            layer.load_state_dict(stored)
            network.set_submodule(name, layer)
        return model

    return made


@pytest.mark.parametrize("ending", [OTHER, TARGET])
def test_an_edit_fits_a_model_with_quantised_layers(pack, quantised, ending, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(edit_files.folder_paths, "get_output_directory", lambda: str(tmp_path))
    monkeypatch.setattr(edit_files, "FOLDER", tmp_path.name)
    clip, plain, model = tiny_encoders.fitting_clip(), unet_model(), quantised(ending)
    made, edit = erased(pack, model, clip, epochs=1)
    loaded = load(pack, model, save(pack, edit))
    expected = drawn(erased(pack, plain, clip, epochs=1)[0], clip)
    before = drawn(model, clip)
    change = torch.linalg.norm(expected - drawn(plain, clip))
    for each in (made, loaded):
        assert torch.linalg.norm(drawn(each, clip) - before) > 0.5 * change
        assert torch.linalg.norm(drawn(each, clip) - expected) < 0.5 * change
    assert not [record for record in caplog.records if "deprecated" in record.getMessage()]
