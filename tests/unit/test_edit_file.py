"""Files of edits: what was written comes back, and every other file is an error that names it."""

import json

import pytest
import torch
from safetensors.torch import save_file

from safelight.edits import edit_file

TENSORS = {"a.down": torch.randn(3, 5), "b": torch.arange(4, dtype=torch.float16)}
SETTINGS = {"concepts": ["a weapon", "une é"], "lamb": 0.5, "epochs": 3, "deep": {"none": None}}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "edit_00001_.safetensors"
    edit_file.write(path, "erase", TENSORS, SETTINGS)
    return path


def test_what_was_written_comes_back(path):
    tensors, settings = edit_file.read(path, "erase")
    assert settings == SETTINGS
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor.float()) and tensors[name].dtype == torch.float32
    assert edit_file.kind_of(path) == "erase"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_another_kind_is_an_error_that_names_the_file_and_both(path):
    with pytest.raises(ValueError, match=r"^file: .*'redaction'.*'erase' in edit_00001_\.safetensors"):
        edit_file.read(path, "redaction")


@pytest.mark.parametrize("content", [b"", b"not a safetensors file", b"\xff" * 64, bytes(8) + b"{}"])
def test_what_is_no_safetensors_is_an_error(tmp_path, content):
    path = tmp_path / "strange.safetensors"
    path.write_bytes(content)
    assert edit_file.kind_of(path) is None
    with pytest.raises(ValueError, match=r"^file: .*strange\.safetensors"):
        edit_file.read(path, "erase")


def test_half_a_file_is_an_error(path):
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"edit_00001_\.safetensors"):
        edit_file.read(path, "erase")


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (None, r"'erase'.*lora\.safetensors, which Safelight did not save"),
        ({"format": "pt"}, r"lora\.safetensors, which Safelight did not save"),
        ({"safelight": "erase", "version": "2", "settings": "{}"}, r"version 1, got 2 in lora\.safetensors"),
        ({"safelight": "erase", "version": "1"}, r"settings as JSON.*lora\.safetensors"),
        ({"safelight": "erase", "version": "1", "settings": "{"}, r"settings as JSON.*lora\.safetensors"),
        ({"safelight": "erase", "version": "1", "settings": json.dumps([1])}, r"a list in lora\.safetensors"),
    ],
)
def test_other_safetensors_are_errors(tmp_path, metadata, said):
    path = tmp_path / "lora.safetensors"
    save_file(TENSORS, str(path), metadata=metadata)
    with pytest.raises(ValueError, match=rf"^file: .*{said}"):
        edit_file.read(path, "erase")


def test_no_file_is_an_error(tmp_path):
    assert edit_file.kind_of(tmp_path / "gone.safetensors") is None
    with pytest.raises(FileNotFoundError, match=r"^file: .*no file gone\.safetensors"):
        edit_file.read(tmp_path / "gone.safetensors", "erase")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1e5])
def test_values_that_no_edit_has_are_neither_written_nor_read(tmp_path, bad):
    path = tmp_path / "edit.safetensors"
    tensors = {"a": torch.tensor([1.0, bad])}
    with pytest.raises(ValueError, match="^edit: .*in a\\."):
        edit_file.write(path, "erase", tensors, {})
    assert not list(tmp_path.iterdir())
    save_file(tensors, str(path), metadata={"safelight": "erase", "version": "1", "settings": "{}"})
    with pytest.raises(ValueError, match=r"^file: .*in a of edit\.safetensors\."):
        edit_file.read(path, "erase")


@pytest.mark.parametrize(
    ("kind", "settings"), [("lora", {}), ("erase", {"x": object()}), ("erase", {"x": float("nan")})]
)
def test_what_has_no_place_in_a_file_is_refused(tmp_path, kind, settings):
    with pytest.raises(ValueError, match="^edit:"):
        edit_file.write(tmp_path / "edit.safetensors", kind, TENSORS, settings)
    assert not list(tmp_path.iterdir())
