"""Files of edits that nobody foresaw: other kinds of numbers, numbers out of all bounds, settings of nonsense."""

from __future__ import annotations

import json

import host
import pytest
import tiny_encoders
import torch
from host import LINK, call, stock, validation_errors
from safetensors.torch import save_file
from tiny_models import latent

from safelight.edits import redaction_network, safe_adapter
from safelight.engine import edit_files

LOADERS = {
    "erase": "SafelightLoadErase",
    "adapter": "SafelightSafeAdapter",
    "redaction": "SafelightLoadRedaction",
    "network": "SafelightLoadRedaction",
    "concept vector": "SafelightLoadConceptVector",
}
KINDS = list(LOADERS)  # "network" is a redaction's other form
WIDTH, POOLED = 32, 16  # of the tiny text encoder and of the tiny models


@pytest.fixture(scope="module")
def clip():
    return tiny_encoders.fitting_clip()


@pytest.fixture(scope="module")
def edits(eps):
    """By kind, the tensors and the settings of an edit for the tiny model or the tiny text encoder."""
    draw = torch.Generator().manual_seed(8)

    def random(*shape):
        return 0.3 * torch.randn(shape, generator=draw)

    modules = eps.model.diffusion_model.named_modules()
    layers = {name: (m.in_features, m.out_features) for name, m in modules if name.endswith(safe_adapter.ENDINGS)}
    widths = {"0.0": WIDTH, "pooled": POOLED}
    students = {key: redaction_network.Student(torch.zeros(w), torch.ones(())) for key, w in widths.items()}
    encoder = {"encoders": ["l"], "blocks": [[WIDTH]], "pooled": POOLED}
    return {
        "erase": ({"text.up": random(WIDTH, 2), "text.down": random(2, WIDTH)}, {"family": "UNet"}),
        "adapter": ({name: random(*t.shape) for name, t in safe_adapter.start(layers, rank=2).items()}, {}),
        "redaction": (
            {
                f"{key}/{name}": random(2, *shape)
                for key, width in widths.items()
                for name, shape in (("centre", (width,)), ("up", (width, 1)), ("down", (1, width)))
            },
            {"form": "ridge", "encoder": encoder},
        ),
        "network": (
            {
                f"{key}/{name}": random(*tensor.shape) if tensor.ndim else tensor
                for key, student in students.items()
                for name, tensor in student.state_dict().items()
            },
            {"form": "network", "encoder": encoder},
        ),
        "concept vector": (
            {"states.0": random(77, WIDTH), "blocks.0": torch.tensor([[0, WIDTH]]), "pooled": random(POOLED)},
            {},
        ),
    }


@pytest.fixture
def write(edits, tmp_path, monkeypatch):
    """Writes an edit, changed by change(name, tensor), as another program could. Returns the file's name."""
    monkeypatch.setattr(edit_files.folder_paths, "get_output_directory", lambda: str(tmp_path))
    monkeypatch.setattr(edit_files, "FOLDER", tmp_path.name)  # the host remembers a name's folders and files
    (tmp_path / tmp_path.name).mkdir()

    def written(kind, change=lambda name, tensor: tensor, settings=None):
        tensors, recorded = edits[kind]
        changed = {name: change(name, tensor).contiguous() for name, tensor in tensors.items()}
        metadata = {
            "safelight": "redaction" if kind == "network" else kind,
            "version": "1",
            "settings": json.dumps(recorded) if settings is None else settings,
        }
        name = f"{len(list((tmp_path / tmp_path.name).iterdir()))}.safetensors"
        save_file(changed, str(tmp_path / tmp_path.name / name), metadata=metadata)
        return name

    return written


def weights(change):
    """The change of every tensor but a vector's table of columns, whose numbers are whole ones."""
    return lambda name, tensor: tensor if name == "blocks.0" else change(tensor)


def each(kinds, dtypes):
    return [pytest.param(kind, dtype, id=f"{kind}-{dtype}") for kind in kinds for dtype in dtypes]


@pytest.fixture
def drawn(pack, eps, clip):
    """The picture that is drawn with an edit; without one, the picture that a kind of edit changes."""
    inputs = {"model": eps, "clip": clip}

    def encode(clip, text):
        return call(host.base_nodes.CLIPTextEncode, clip=clip, text=text)[0]

    def draw(kind, file=None):
        model, texts, vector = eps, clip, None
        if file is not None:
            node = pack.nodes[LOADERS[kind]]
            given = {name: inputs[name] for name in node.INPUT_TYPES()["required"] if name in inputs}
            (loaded,) = call(node, **given, file=file)
            model, texts, vector = {
                "erase": (loaded, clip, None),
                "adapter": (loaded, clip, None),
                "redaction": (eps, loaded, None),
                "network": (eps, loaded, None),
                "concept vector": (eps, clip, loaded),
            }[kind]
        positive = encode(texts, "a knife")
        if vector is not None:
            settings = {"method": "subtract", "vector": vector}
            positive = call(pack.nodes["SafelightContextEncode"], clip=clip, prompt="a knife", **settings)[1]
        return stock(model, positive, encode(clip, ""), latent(), steps=1)

    return draw


@pytest.fixture(scope="module")
def pictures():
    """By kind, the pictures without an edit and with the edit as it was written, once they are drawn."""
    return {}


def refusal(pack, drawn, kind, file):
    """What is said against a file before its picture is drawn, or when it is loaded; None for a picture."""
    verdict = pack.nodes[LOADERS[kind]].VALIDATE_INPUTS(file=file)
    if verdict is not True:
        return verdict
    try:
        picture = drawn(kind, file)
    except ValueError as error:
        return str(error)
    assert torch.isfinite(picture).all(), "the picture holds values that are no numbers"
    return None


def names(text, file):
    return text is not None and text.startswith("file: ") and file in text


# --- the dtypes of floating point numbers


@pytest.mark.parametrize(("kind", "dtype"), each(KINDS, [torch.float16, torch.bfloat16, torch.float64]))
def test_an_edit_in_another_precision_is_the_same_edit(pack, write, drawn, pictures, kind, dtype):
    if kind not in pictures:
        pictures[kind] = drawn(kind), drawn(kind, write(kind))
    plain, whole = pictures[kind]
    file = write(kind, weights(lambda tensor: tensor.to(dtype)))
    assert pack.nodes[LOADERS[kind]].VALIDATE_INPUTS(file=file) is True
    change = torch.linalg.norm(whole - plain)
    assert change > 1e-2 * torch.linalg.norm(plain)
    assert torch.linalg.norm(drawn(kind, file) - whole) < 0.1 * change


@pytest.mark.parametrize(("kind", "dtype"), each(KINDS, [torch.float8_e4m3fn, torch.float8_e5m2]))
def test_an_edit_in_eight_bits_is_applied_or_refused_by_name(pack, write, drawn, kind, dtype):
    file = write(kind, weights(lambda tensor: tensor.to(dtype)))
    text = refusal(pack, drawn, kind, file)
    assert text is None or names(text, file)


# --- what are no weights


@pytest.mark.parametrize(("kind", "dtype"), each(KINDS, [torch.int64, torch.bool, torch.complex64]))
def test_an_edit_of_other_values_than_real_numbers_is_refused_by_name(pack, write, drawn, kind, dtype):
    file = write(kind, weights(lambda tensor: (10 * tensor).to(dtype)))
    text = refusal(pack, drawn, kind, file)
    assert names(text, file), text


@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_of_weights_out_of_all_bounds_is_refused_by_name(pack, write, drawn, kind):
    file = write(kind, weights(lambda tensor: 1e30 * tensor))
    text = refusal(pack, drawn, kind, file)
    assert names(text, file), text


def test_a_redaction_that_divides_by_zero_is_refused_by_name(pack, write, drawn):
    file = write("network", lambda name, tensor: 0 * tensor if name.endswith("scale") else tensor)
    text = refusal(pack, drawn, "network", file)
    assert names(text, file), text


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_redaction_of_other_rows_than_words_and_tail_is_refused_by_name(pack, write, drawn, rows):
    file = write("redaction", lambda name, tensor: tensor[:1].expand(rows, *tensor.shape[1:]))
    text = refusal(pack, drawn, "redaction", file)
    assert names(text, file), text


def test_a_concept_vector_without_rows_is_refused_by_name(pack, write, drawn):
    file = write("concept vector", lambda name, tensor: tensor[:0] if name == "states.0" else tensor)
    text = refusal(pack, drawn, "concept vector", file)
    assert names(text, file), text


# --- settings


@pytest.mark.parametrize("settings", ["[" * 100_000, '{"a":' * 100_000], ids=["lists", "objects"])
def test_settings_of_countless_brackets_are_refused_by_name(pack, write, drawn, settings):
    file = write("erase", settings=settings)
    text = refusal(pack, drawn, "erase", file)
    assert names(text, file), text


@pytest.mark.parametrize(
    "encoder",
    [
        '{"encoders": ["l"], "blocks": [[32]], "pooled": Infinity}',
        '{"encoders": ["l"], "blocks": [[1e999]], "pooled": 16}',
        '{"encoders": ["l"], "blocks": [[NaN]], "pooled": 16}',
        '{"encoders": 5, "blocks": [[32]], "pooled": 16}',
        "[]",
        "null",
    ],
)
def test_a_redaction_for_an_encoder_of_nonsense_is_refused_by_name(pack, write, drawn, encoder):
    file = write("redaction", settings=f'{{"form": "ridge", "encoder": {encoder}}}')
    text = refusal(pack, drawn, "redaction", file)
    assert names(text, file), text


# --- a file's name from a link


@pytest.mark.parametrize("loader", sorted(set(LOADERS.values())))
def test_a_linked_file_is_judged_when_the_node_runs(pack, loader):
    node = pack.nodes[loader]
    assert validation_errors(node, **dict.fromkeys(node.INPUT_TYPES()["required"], LINK)) == []


@pytest.mark.parametrize("loader", sorted(set(LOADERS.values())))
def test_the_state_of_a_linked_file_can_be_asked_for(pack, loader):
    """The host asks before the run, and warns of an error."""
    assert pack.nodes[loader].IS_CHANGED(file=None) is not None


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_of_a_linked_file_is_another_when_any_edit_of_the_kind_is(pack, write, kind):
    node = pack.nodes[LOADERS[kind]]
    states = [node.IS_CHANGED(file=None)]
    for _ in range(2):
        write(kind)
        states.append(node.IS_CHANGED(file=None))
    assert len(set(states)) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_link_that_gives_no_name_is_an_error_of_the_file(pack, drawn, kind):
    with pytest.raises(ValueError, match="^file: expected the name of a file, got 5"):
        drawn(kind, 5)


@pytest.mark.parametrize("loader", sorted(set(LOADERS.values())))
def test_a_file_that_is_left_out_is_the_hosts_error_of_that_input(pack, loader):
    node = pack.nodes[loader]
    inputs = {name: LINK for name in node.INPUT_TYPES()["required"] if name != "file"}
    assert validation_errors(node, **inputs) == [("file", "Required input is missing: file")]
