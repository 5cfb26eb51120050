"""Detectors: their scale, how they are guarded, how they are combined, and what is drawn of their findings."""

import math

import pytest
import torch

from safelight.detect.combined import ALL, ANY, AT_LEAST, MEAN, Combined, TextRisk
from safelight.detect.detector import AT_ONCE, Detector
from safelight.detect.look import FOUND, Finding, Look, best, failed, on_scale
from safelight.views.findings import BLANK, BLUR, KEEP, drawn, hidden

PICTURES = torch.linspace(0, 1, 11 * 8 * 6 * 3).reshape(11, 8, 6, 3)


class Mean(Detector):
    """The brightness of a picture; breaks at the numbers of `broken`, by brightness."""

    def __init__(self, name="mean", broken=(), factor=1.0):
        self.name, self.broken, self.factor, self.calls = name, broken, factor, []

    def _look(self, pictures):
        self.calls.append(len(pictures))
        means = [round(float(picture.mean()), 3) for picture in pictures]
        if any(mean in self.broken for mean in means):
            raise RuntimeError("no memory")
        return [best([Finding("light", self.factor * mean)]) for mean in means]


def test_the_threshold_of_any_detector_is_one_half_on_the_common_scale():
    for threshold in (0.02, 0.2, 0.5, 0.97):
        scale = [on_scale(x, threshold) for x in (0.0, threshold / 2, threshold, (1 + threshold) / 2, 1.0)]
        assert scale == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])
        assert on_scale(math.nextafter(threshold, 0), threshold) < FOUND <= on_scale(threshold, threshold)
    assert on_scale(math.nan, 0.5) == 1.0 and on_scale(3.0, 0.5) == 1.0 and on_scale(-1.0, 0.5) == 0.0


@pytest.mark.parametrize("wrong", [0.0, 1.0, -1.0, math.nan])
def test_a_threshold_that_everything_or_nothing_reaches_is_refused(wrong):
    with pytest.raises(ValueError, match="threshold"):
        on_scale(0.5, wrong)


def test_a_look_says_what_was_found():
    seen = best([Finding("dog", 0.3), Finding("knife", 0.8), Finding("bomb", 0.5), Finding("knife", 0.6)])
    assert seen.found and seen.score == 0.8 and seen.words == "knife, bomb"
    assert best([]) == Look(0.0) and not best([]).found and best([]).words == "nothing"
    assert failed("broken").found and failed("broken").words == "broken"
    assert Look(0.7).words == "something"


def test_pictures_are_looked_at_in_batches_with_progress():
    detector, seen = Mean(), []
    looks = detector.look(PICTURES, seen.append)
    assert detector.calls == [AT_ONCE, 3] == seen and len(looks) == 11
    assert [look.score for look in looks] == sorted(look.score for look in looks)


def test_a_picture_that_breaks_the_detector_counts_as_found_and_the_others_are_judged():
    broken = round(float(PICTURES[2].mean()), 3)
    looks, plain = Mean(broken=(broken,)).look(PICTURES), Mean().look(PICTURES)
    assert looks[2].found and "no memory" in looks[2].failed and "counts as found" in looks[2].words
    assert [look for i, look in enumerate(looks) if i != 2] == [look for i, look in enumerate(plain) if i != 2]


def test_a_picture_of_no_numbers_counts_as_found():
    pictures = PICTURES.clone()
    pictures[4, 0, 0, 1] = math.nan
    detector = Mean()
    looks = detector.look(pictures)
    assert looks[4].found and "NaN" in looks[4].failed and not any(look.failed for look in looks[:4])
    assert all(count == 1 for count in detector.calls[:7])  # never shown to it


def test_an_interruption_passes_through():
    class Interrupted(Exception):
        pass

    def stop(count):
        raise Interrupted

    with pytest.raises(Interrupted):
        Mean().look(PICTURES, stop)


def test_a_detector_that_gives_too_few_looks_fails_closed():
    class Short(Mean):
        def _look(self, pictures):
            return super()._look(pictures)[1:]

    assert all(look.found and look.failed for look in Short().look(PICTURES[:2]))


@pytest.mark.parametrize("wrong", [None, torch.zeros(4, 4, 3), torch.zeros(1, 4, 4, 2)])
def test_what_is_no_batch_of_pictures_is_refused(wrong):
    with pytest.raises(ValueError, match="images: expected pictures"):
        Mean().look(wrong)


def test_a_fourth_channel_is_no_matter_and_values_beyond_white_are_white():
    four = torch.cat([PICTURES, torch.zeros(*PICTURES.shape[:3], 1)], dim=-1)
    assert Mean().look(four) == Mean().look(PICTURES)
    assert Mean().look(torch.full((1, 4, 4, 3), 7.0))[0].score == 1.0


# -- several together


@pytest.mark.parametrize(("way", "n", "score"), [(ANY, 1, 0.9), (ALL, 1, 0.2), (MEAN, 1, 0.5), (AT_LEAST, 2, 0.4)])
def test_detectors_are_combined(way, n, score):
    picture = torch.ones(1, 4, 4, 3)
    three = [Mean(str(factor), factor=factor) for factor in (0.4, 0.9, 0.2)]
    (look,) = Combined(three, way, n).look(picture)
    assert look.score == pytest.approx(score) and [one.score for one in look.findings] == [0.9, 0.4, 0.2]


def test_the_risk_of_the_text_is_one_of_them():
    light = torch.ones(2, 4, 4, 3)
    both = Combined([Mean(), TextRisk(0.1)], ALL)
    assert [look.found for look in both.look(light)] == [False, False]
    assert [look.found for look in Combined([Mean(), TextRisk(0.6)], ALL).look(light)] == [True, True]
    assert TextRisk(1.0).look(light)[0].words == "the text"
    for wrong in (math.nan, -0.1, 1.5):
        with pytest.raises(ValueError, match="risk"):
            TextRisk(wrong)


def test_one_that_breaks_counts_as_found_beside_the_others_and_says_so():
    broken = Mean("second", broken=(1.0,))
    light = torch.ones(1, 4, 4, 3)
    (look,) = Combined([Mean(factor=0.1), broken]).look(light)
    assert look.found and "second could not look" in look.words
    (look,) = Combined([Mean(factor=0.1), broken], ALL).look(light)
    assert not look.found and "second could not look" in look.failed


def test_a_picture_that_passes_names_nothing_though_one_of_all_saw_something():
    (look,) = Combined([Mean(factor=0.9), Mean(factor=0.1)], ALL).look(torch.ones(1, 4, 4, 3))
    assert not look.found and look.words == "nothing" and look.findings[0].found


def test_every_one_of_them_can_be_interrupted():
    told = []
    Combined([Mean(), Mean()]).look(PICTURES, told.append)
    assert told == [0, 0, AT_ONCE, 3]


def test_what_can_not_be_combined_is_refused():
    with pytest.raises(ValueError, match="way"):
        Combined([Mean()], "some")
    with pytest.raises(ValueError, match="detector_1"):
        Combined([])
    for n in (0, 3):
        with pytest.raises(ValueError, match="n: expected a number from 1 to 2"):
            Combined([Mean(), Mean()], AT_LEAST, n)


# -- pictures of what was found

PICTURE = torch.rand(40, 64, 3, generator=torch.Generator().manual_seed(1))
KNIFE = best([Finding("knife", 0.9, (0.25, 0.25, 0.5, 0.5)), Finding("spoon", 0.2, (0.7, 0.7, 0.9, 0.9))])


def test_boxes_are_drawn_and_what_is_elsewhere_stays():
    shown = drawn(PICTURE, KNIFE)
    assert shown.shape == PICTURE.shape and shown.min() >= 0 and shown.max() <= 1
    assert torch.allclose(shown[10, 16:32], torch.tensor([200.0, 38, 28]) / 255, atol=1e-6)
    assert torch.allclose(shown[:9], PICTURE[:9], atol=1 / 255)
    assert torch.allclose(drawn(PICTURE, Look(0.0)), PICTURE, atol=1 / 255)
    assert not torch.allclose(drawn(PICTURE, failed("broken"))[:9], PICTURE[:9], atol=1 / 255)


@pytest.mark.parametrize("how", [BLUR, BLANK])
def test_what_was_found_is_hidden_where_it_is_and_nothing_else(how):
    result = hidden(PICTURE, KNIFE, how)
    inside = result[10:20, 16:32]
    assert inside.std() < 0.6 * PICTURE[10:20, 16:32].std()
    outside = torch.ones(40, 64, dtype=torch.bool)
    outside[9:22, 15:34] = False
    assert torch.equal(result[outside], PICTURE[outside])
    assert torch.equal(PICTURE, torch.rand(40, 64, 3, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("look", [Look(0.9), failed("broken"), best([Finding("nudity", 0.6)])])
def test_without_a_box_the_whole_picture_is_hidden(look):
    assert (hidden(PICTURE, look, BLANK) == 0.5).all()
    assert hidden(PICTURE, look, BLUR).std() < 0.6 * PICTURE.std()


def test_a_picture_that_passed_or_is_kept_is_the_same_object():
    assert hidden(PICTURE, Look(0.4), BLANK) is PICTURE and hidden(PICTURE, KNIFE, KEEP) is PICTURE
    with pytest.raises(ValueError, match="hide"):
        hidden(PICTURE, KNIFE, "cover")


def test_a_box_over_the_edge_or_of_no_size_is_drawn_and_hidden_inside():
    odd = best([Finding("a", 0.9, (-0.5, 0.9, 0.1, 1.7)), Finding("b", 0.8, (1.0, 1.0, 1.0, 1.0))])
    assert drawn(PICTURE, odd).shape == PICTURE.shape
    assert (hidden(PICTURE, odd, BLANK)[36:, :6] == 0.5).all()


def test_no_numbers_are_hidden_too():
    picture = PICTURE.clone()
    picture[0, 0] = math.nan
    for how in (BLUR, BLANK):
        assert torch.isfinite(hidden(picture, failed("NaN"), how)).all()
