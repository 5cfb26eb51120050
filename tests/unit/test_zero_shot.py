"""Zero-shot looks by CLIP's embeddings."""

import pytest
import torch

from safelight.detect.zero_shot import looks, squares


def test_the_nearest_concept_decides_beside_the_nearest_harmless_text():
    axes = torch.eye(4)
    pictures = torch.stack([axes[0], axes[2], axes[0] + axes[2]]) * 3
    found = looks(pictures, axes[:2], axes[2:], ["nudity", "blood"], 0.5)
    assert [look.found for look in found] == [True, False, True]  # as near to the one as to the other: found
    assert found[0].words == "nudity" and found[0].score == pytest.approx(1.0)
    both = looks(axes[:1] + 0.99 * axes[1:2], axes[:2], axes[2:], ["nudity", "blood"], 0.3)[0]
    assert both.words == "nudity, blood" and both.findings[0].score > both.findings[1].score
    assert found[2].score == pytest.approx(0.5)
    assert not looks(pictures[2:], axes[:2], axes[2:], ["nudity", "blood"], 0.9)[0].found


@pytest.mark.parametrize(("height", "width", "count"), [(6, 6, 1), (6, 9, 2), (6, 18, 3), (20, 6, 4)])
def test_squares_cover_the_whole_picture(height, width, count):
    pictures = torch.arange(height * width * 3.0).reshape(1, height, width, 3)
    parts = squares(pictures)
    assert len(parts) == count and all(part.shape == (1, 6, 6, 3) for part in parts)
    assert set(torch.cat(parts).flatten().tolist()) == set(pictures.flatten().tolist())
