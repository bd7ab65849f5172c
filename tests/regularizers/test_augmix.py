"""AugMix by hand on a 4x4 image, its chains one image at a time, and its loss against the official formula."""

import math

import pytest
import torch
from PIL import Image, ImageOps
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from tuner.regularizers import Step
from tuner.regularizers.augmix import OPERATIONS, AugMix, Chains, augmix, draw_chains, jensen_shannon, run_chains
from tuner.training.criterion import CRITERIA, soft_cross_entropy


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def a_step(seed=0, criterion=soft_cross_entropy, mean=(0.0,), std=(1.0,)):
    return Step(criterion, seeded(seed), progress=0.0, mean=mean, std=std)


def some_pixels(n=6, channels=3, height=16, width=16):
    return torch.randint(256, (n, channels, height, width), generator=seeded()).float()


def test_golden():
    images = torch.stack([torch.zeros(1, 4, 4), torch.full((1, 4, 4), 1.0)])
    chains = torch.stack([torch.full((2, 1, 4, 4), 4.0), torch.full((2, 1, 4, 4), 8.0)])
    weights = torch.tensor([[0.25, 1.0], [0.75, 0.0]]).view(2, 2, 1, 1, 1)
    mixed = augmix(images, chains, weights, m=torch.tensor([0.5, 0.25]).view(2, 1, 1, 1))
    assert mixed[0].unique().tolist() == [3.5]  # half of 4 / 4 + 3 * 8 / 4 = 7
    assert mixed[1].unique().tolist() == [1.75]  # 3/4 of 1 and 1/4 of 4


def test_divergence_by_hand():
    certain = 50 * torch.eye(3).unsqueeze(1)  # three versions of one sample, each sure of another class
    assert jensen_shannon(certain).item() == pytest.approx(math.log(3))
    assert jensen_shannon(certain[[0, 0, 0]]).item() == pytest.approx(0, abs=1e-6)
    # One of three disagrees: the mixture is (2/3, 1/3), and -log of it is paid twice and once.
    expected = (2 * math.log(3 / 2) + math.log(3)) / 3
    assert jensen_shannon(certain[[0, 0, 1]]).item() == pytest.approx(expected)


def test_divergence_is_the_official_one_and_keeps_its_gradient_where_that_one_has_none():
    logits = torch.randn(3, 8, 10, generator=seeded())
    p = logits.softmax(2)
    log_mixture = p.mean(0).clamp(1e-7, 1).log()
    official = sum(F.kl_div(log_mixture, version, reduction="batchmean") for version in p) / 3
    torch.testing.assert_close(jensen_shannon(logits), official)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(jensen_shannon(logits), official)
    for versions in ([0, 1, 2], [0, 0, 0]):  # no probability left for some class in one version, and in all
        extreme = (300 * torch.eye(3)[versions].unsqueeze(1)).requires_grad_()
        jensen_shannon(extreme).backward()
        assert extreme.grad.isfinite().all()


OFFICIAL = [
    lambda image, level: ImageOps.autocontrast(image),
    lambda image, level: ImageOps.equalize(image),
    lambda image, level: ImageOps.posterize(image, 4 - int(abs(level) * 4 / 10)),
    lambda image, level: ImageOps.solarize(image, 256 - int(abs(level) * 256 / 10)),
    lambda image, level: image.rotate(int(level * 30 / 10), Image.Resampling.BILINEAR),
    lambda image, level: warped(image, 1, level * 0.3 / 10, 0, 0, 1, 0),
    lambda image, level: warped(image, 1, 0, 0, level * 0.3 / 10, 1, 0),
    lambda image, level: warped(image, 1, 0, int(level * 32 / 3 / 10), 0, 1, 0),
    lambda image, level: warped(image, 1, 0, 0, 0, 1, int(level * 32 / 3 / 10)),
]


def warped(image, *coefficients):
    return image.transform(image.size, Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BILINEAR)


@pytest.mark.parametrize("number", range(len(OFFICIAL)))
def test_a_level_means_what_it_means_in_the_official_code(number):
    pixels, levels = some_pixels(8, height=32, width=32), [-9.9, -6.1, -2.9, -0.2, 0.2, 2.9, 6.1, 9.9]
    done = OPERATIONS[number](pixels, torch.tensor(levels))
    for image, result, level in zip(pixels, done, levels, strict=True):
        expected = OFFICIAL[number](Image.fromarray(image.permute(1, 2, 0).byte().numpy()), level)
        expected = torch.frombuffer(bytearray(expected.tobytes()), dtype=torch.uint8).view(32, 32, 3).permute(2, 0, 1)
        assert (result - expected).abs().max() <= 1
    assert len(OPERATIONS) == len(OFFICIAL)


def test_chains_are_run_on_each_image_in_their_order():
    pixels = some_pixels(5, height=8, width=12)
    before = pixels.clone()
    chains = draw_chains(width=4, depth=-1, count=5, severity=10, generator=seeded())
    done = run_chains(pixels, chains)
    assert done.shape == (4, 5, 3, 8, 12)
    for chain in range(4):
        for image in range(5):
            expected = pixels[image : image + 1]
            for number, level in zip(chains.operations[:, chain, image], chains.levels[:, chain, image], strict=True):
                if number:
                    expected = OPERATIONS[number - 1](expected, level.view(1))
            assert torch.equal(done[chain, image], expected[0])
    assert torch.equal(pixels, before)


def test_a_chain_of_nothing_leaves_the_image():
    pixels = some_pixels(2)
    nothing = Chains(torch.zeros(3, 2, 2, dtype=torch.int64), torch.ones(3, 2, 2))
    assert torch.equal(run_chains(pixels, nothing), pixels.expand(2, -1, -1, -1, -1))


def test_chains_have_random_depth_operations_and_levels():
    n = 9000
    operations, levels = draw_chains(width=3, depth=-1, count=n // 3, severity=3, generator=seeded())
    assert operations.shape == levels.shape == (3, 3, n // 3)
    assert levels.dtype == torch.float32
    depths = operations.ne(0).sum(0)
    assert torch.equal(operations.ne(0), torch.arange(3).view(3, 1, 1) < depths)  # nothing only at the end
    for depth in (1, 2, 3):
        assert abs(depths.eq(depth).double().mean() - 1 / 3) < 4 * math.sqrt(2 / 9 / n)
    drawn = operations[operations > 0]
    for number in range(1, 10):
        assert abs(drawn.eq(number).double().mean() - 1 / 9) < 4 * math.sqrt(8 / 81 / len(drawn))
    magnitudes, n = levels.abs().double(), levels.numel()
    assert magnitudes.min() >= 0.1 - 1e-6
    assert magnitudes.max() <= 3
    assert abs(magnitudes.mean() - 1.55) < 4 * 2.9 / math.sqrt(12 * n)
    assert abs(levels.sign().mean()) < 4 / math.sqrt(n)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_a_fixed_depth_is_that_of_every_chain(depth):
    operations, _ = draw_chains(width=2, depth=depth, count=50, severity=3, generator=seeded())
    assert operations.shape == (depth, 2, 50)
    assert operations.min() >= 1


def test_images_are_operated_on_as_pixels_whatever_normalises_them():
    pixels = some_pixels() / 255
    plain = AugMix(severity=10).augmented(pixels, a_step())
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    wide_mean, wide_std = (torch.tensor(channels).view(3, 1, 1) for channels in (mean, std))
    normalised = AugMix(severity=10).augmented((pixels - wide_mean) / wide_std, a_step(mean=mean, std=std))
    torch.testing.assert_close(normalised * wide_std + wide_mean, plain)
    assert plain.min() >= 0
    assert plain.max() <= 1


def test_share_and_weights_of_the_chains_are_uniform():
    """Where one chain of three solarizes a white image to black, it darkens by m * w: m ~ U(0, 1), w ~ Beta(1, 2)."""
    n = 4000
    white = torch.ones(n, 1, 2, 2)
    version = AugMix(mixture_depth=1).augmented(white, a_step())
    chains = run_chains(255 * white, draw_chains(3, 1, n, 3, seeded())).mean((2, 3, 4))  # drawn first, from that seed
    one = (chains.eq(0).sum(0) == 1) & (chains.eq(255).sum(0) == 2)
    darkened = 1 - version.mean((1, 2, 3))[one]
    for power, expected in [(1, 1 / 2 * 1 / 3), (2, 1 / 3 * 1 / 6)]:
        values = darkened**power
        assert abs(values.mean() - expected) < 4 * values.std() / math.sqrt(len(values))
    untouched = chains.eq(255).all(0)
    torch.testing.assert_close(version[untouched], white[untouched])


@pytest.mark.parametrize("criterion", CRITERIA.values(), ids=CRITERIA)
def test_one_pass_over_three_versions_the_clean_one_first_and_alone_in_the_criterion(criterion):
    images, targets, passes = some_pixels(height=8, width=12) / 255, torch.eye(6), []

    class Watching(nn.Module):
        def forward(self, versions):
            passes.append(versions)
            return versions

    torch.manual_seed(0)
    net = nn.Sequential(Watching(), nn.Flatten(), nn.Linear(288, 6))
    loss = AugMix(jsd_weight=7.0).loss(net, images, targets, a_step(criterion=criterion))
    [versions] = passes
    assert torch.equal(versions[:6], images)
    first, second = versions[6:12], versions[12:]
    assert not torch.equal(first, second)
    assert not torch.equal(first, images)
    logits = net(versions)
    expected = criterion(logits[:6], targets) + 7 * jensen_shannon(logits.unflatten(0, (3, 6)))
    torch.testing.assert_close(loss, expected)


def test_autocast_does_not_touch_the_images():
    images = some_pixels(height=32, width=32) / 255
    plain = AugMix(severity=10).augmented(images, a_step())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(AugMix(severity=10).augmented(images, a_step()), plain)


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (5, 1, 8, 12), (2, 3, 1, 1)], ids=str)
def test_grey_narrow_and_single_images_work(shape):
    images = torch.rand(shape, generator=seeded())
    for seed in range(5):
        version = AugMix(severity=10, mixture_depth=4).augmented(images, a_step(seed))
        assert version.shape == shape
        assert version.isfinite().all()


@pytest.mark.parametrize("wrong", [{"severity": 0}, {"severity": 11}, {"mixture_width": 6}, {"mixture_depth": 0}])
def test_illegal_values_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        AugMix(**wrong)
