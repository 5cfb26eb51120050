"""Saving edits, and the lists of them: in the host's own folders, by kind."""

from __future__ import annotations

import os

import host
import pytest
import torch

from safelight.edits import edit_file
from safelight.engine import edit_files


@pytest.fixture
def files(pack, tmp_path, monkeypatch):
    """The pack's module of edit files, with an output folder of its own."""
    files = edit_files
    monkeypatch.setattr(files.folder_paths, "get_output_directory", lambda: str(tmp_path))
    monkeypatch.setattr(files, "FOLDER", tmp_path.name)  # the host remembers a name's folders and files
    return files


@pytest.fixture
def edit(pack):
    return edit_file.Edit("erase", {"x": torch.randn(2, 3)}, {"epochs": 2})


def save(pack, edit, **inputs):
    return host.call(pack.nodes["SafelightSaveEdit"], edit=edit, **inputs)[0]


def test_a_saved_edit_is_listed_under_its_kind_and_loads(pack, files, edit, tmp_path):
    before = {kind: files.files(kind) for kind in ("erase", "redaction")}
    first, second = save(pack, edit), save(pack, edit)
    below = save(pack, edit, filename_prefix="portraits/knives")
    assert [first, second] == ["edit_00001_.safetensors", "edit_00002_.safetensors"]
    assert below == os.path.join("portraits", "knives_00001_.safetensors")
    assert (tmp_path / files.FOLDER / below).is_file()
    assert set(files.files("erase")) == {*before["erase"], first, second, below}
    assert files.files("redaction") == before["redaction"]
    for name in (first, below):
        loaded = files.load(name, "erase")
        assert loaded.kind == "erase" and loaded.settings == {"epochs": 2}
        assert torch.equal(loaded.tensors["x"], edit.tensors["x"])


def test_files_that_are_no_edits_are_passed_over(pack, files, edit, tmp_path):
    name = save(pack, edit)
    (tmp_path / files.FOLDER / "broken.safetensors").write_bytes(b"nothing")
    (tmp_path / files.FOLDER / "notes.txt").write_text("nothing")
    listed = files.files("erase")
    assert name in listed and not {"broken.safetensors", "notes.txt"} & set(listed)


def test_models_safelight_is_searched_too(pack, files, edit, tmp_path, monkeypatch):
    monkeypatch.setattr(files.folder_paths, "models_dir", str(tmp_path / "models"))
    name = save(pack, edit)
    (tmp_path / "models" / files.FOLDER).mkdir(parents=True)
    (tmp_path / files.FOLDER / name).rename(tmp_path / "models" / files.FOLDER / "shared.safetensors")
    assert "shared.safetensors" in files.files("erase")
    assert files.load("shared.safetensors", "erase").settings == {"epochs": 2}


def test_a_name_that_another_folder_has_is_not_given_again(pack, files, edit, tmp_path, monkeypatch):
    monkeypatch.setattr(files.folder_paths, "models_dir", str(tmp_path / "models"))
    first = save(pack, edit)
    (tmp_path / "models" / files.FOLDER).mkdir(parents=True)
    (tmp_path / files.FOLDER / first).rename(tmp_path / "models" / files.FOLDER / first)
    assert save(pack, edit) != first


def test_a_list_without_a_file_says_so_and_what_to_do(pack, files):
    node = pack.nodes["SafelightLoadLatentGuard"]
    choices, _ = node.INPUT_TYPES()["required"]["file"]
    assert choices == [files.NONE_YET]
    assert "Safelight Save Edit" in node.VALIDATE_INPUTS(files.NONE_YET)


def test_wrong_files_are_told_before_the_run(pack, files, edit, tmp_path):
    name = save(pack, edit)
    right, wrong = pack.nodes["SafelightLoadErase"], pack.nodes["SafelightSafeAdapter"]
    assert right.VALIDATE_INPUTS(name) is True
    assert name in wrong.VALIDATE_INPUTS(name) and "'adapter'" in wrong.VALIDATE_INPUTS(name)
    assert "gone.safetensors" in right.VALIDATE_INPUTS("gone.safetensors")
    outside = tmp_path / "outside.safetensors"
    (tmp_path / files.FOLDER / name).rename(outside)
    for path in (str(outside), os.path.join("..", "outside.safetensors")):
        assert right.VALIDATE_INPUTS(path) is not True, path


def test_a_file_that_was_written_anew_is_loaded_anew(pack, files, edit, tmp_path):
    name, node = save(pack, edit), pack.nodes["SafelightLoadErase"]
    before = node.IS_CHANGED(name)
    assert node.IS_CHANGED(name, strength=0.5) == before
    (tmp_path / files.FOLDER / name).write_bytes(b"another")
    assert node.IS_CHANGED(name) != before


def test_saving_stays_in_its_folder(pack, files, edit, tmp_path):
    with pytest.raises(Exception, match="not allowed|output folder"):
        save(pack, edit, filename_prefix="../../elsewhere")
    with pytest.raises(ValueError, match="^edit: "):
        save(pack, {"x": torch.zeros(1)})
