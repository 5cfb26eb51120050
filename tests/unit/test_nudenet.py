"""NudeNet as a detector: with a stand-in for the package, and with the package where it is installed."""

import sys
import types

import numpy as np
import pytest
import torch

from safelight.detect import nudenet
from safelight.detect.nudenet import EXPOSED, NudeNet

SKIN = torch.tensor([0.9, 0.6, 0.4]).expand(2, 20, 40, 3)


@pytest.fixture
def package(monkeypatch):
    """A package that sees a belly and a face in every picture, and keeps what it was shown."""
    shown = []

    class NudeDetector:
        def detect_batch(self, pictures):
            shown.extend(pictures)
            belly = {"class": "BELLY_EXPOSED", "score": 0.7, "box": [10, 5, 20, 10]}
            return [[belly, {"class": "FACE_FEMALE", "score": 0.9, "box": [0, 0, 4, 4]}] for _ in pictures]

    module = types.ModuleType("nudenet")
    module.NudeDetector = NudeDetector
    monkeypatch.setitem(sys.modules, "nudenet", module)
    nudenet._model.cache_clear()
    yield shown
    nudenet._model.cache_clear()


def test_only_chosen_classes_count(package):
    assert [look.score for look in NudeNet().look(SKIN)] == [0.0, 0.0]
    (look, _) = NudeNet(["BELLY_EXPOSED"], 0.4).look(SKIN)
    assert look.found and look.words == "belly exposed" and look.score == pytest.approx(0.75)
    assert look.findings[0].box == (0.25, 0.25, 0.75, 0.75)
    assert not NudeNet(["BELLY_EXPOSED"], 0.8).look(SKIN)[0].found
    assert not any("FACE" in name or "COVERED" in name for name in EXPOSED)


def test_it_is_shown_red_first(package):
    NudeNet().look(SKIN)
    assert package[0].dtype == np.uint8 and package[0].flags["C_CONTIGUOUS"]
    assert package[0][0, 0].tolist() == [230, 153, 102]


def test_wrong_inputs_are_named(package):
    with pytest.raises(ValueError, match="classes: unknown class 'KNIFE'"):
        NudeNet(["KNIFE"])
    with pytest.raises(ValueError, match="classes: expected at least one"):
        NudeNet([])
    for wrong in (0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="threshold"):
            NudeNet(threshold=wrong)


def test_without_the_package_an_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nudenet", None)
    nudenet._model.cache_clear()
    with pytest.raises(ValueError, match="pip install nudenet"):
        NudeNet()


def test_the_real_one_sees_the_face_of_a_portrait_and_nothing_exposed():
    """On the one portrait that a common package ships; its colours are right: blue skin is less of a face."""
    pytest.importorskip("nudenet", reason="nudenet is an optional package")
    data = pytest.importorskip("skimage.data", reason="the portrait is of scikit-image")
    nudenet._model.cache_clear()
    picture = torch.from_numpy(data.astronaut())[None].float() / 255
    assert NudeNet(nudenet.CLASSES).look(picture)[0].words == "face female"
    assert not NudeNet().look(picture)[0].found
    swapped = NudeNet(nudenet.CLASSES).look(picture.flip(-1))[0]
    assert swapped.score < NudeNet(nudenet.CLASSES).look(picture)[0].score
