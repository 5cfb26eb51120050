"""Progress on the axis "noise level" is the host's own percentage, whatever the model's noise schedule."""

import comfy.model_sampling
import pytest

from safelight.guidance.progress import noise_level_progress as progress

KINDS = [
    "ModelSamplingDiscrete",
    "ModelSamplingContinuousEDM",
    "ModelSamplingContinuousV",
    "ModelSamplingDiscreteFlow",
    "ModelSamplingFlux",
    "StableCascadeSampling",
]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if hasattr(comfy.model_sampling, kind)])
def test_progress_gives_back_the_percentage_from_which_the_host_made_the_sigma(kind):
    sampling = getattr(comfy.model_sampling, kind)()
    percent_to_sigma = sampling.percent_to_sigma
    for percent in (0.02, 0.14, 0.2, 0.3, 0.5, 0.75, 0.8, 0.99):
        assert progress(float(percent_to_sigma(percent)), percent_to_sigma) == percent
    falling = [float(percent_to_sigma(i / 200)) for i in range(1, 200)]
    assert [progress(sigma, percent_to_sigma) for sigma in falling] == sorted(
        progress(sigma, percent_to_sigma) for sigma in falling
    )
    assert progress(float(percent_to_sigma(0.0)), percent_to_sigma) == 0.0
    assert progress(0.0, percent_to_sigma) == 1.0
