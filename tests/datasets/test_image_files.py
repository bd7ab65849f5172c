"""Streamed image files: the same batches whoever decodes them, the papers' views, and nothing left behind."""

import math
import multiprocessing
import os
import pickle
import signal
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.functional import pil_to_tensor

from tuner.datasets.base import Data
from tuner.datasets.image_files import (
    EIGENVALUES,
    EIGENVECTORS,
    CropAndColor,
    Decoder,
    ImageFiles,
    evaluation_view,
    lighting,
    training_view,
)
from tuner.models import PreActResNet18
from tuner.regularizers import get
from tuner.training.checkpoint import Checkpoints
from tuner.training.fit import fit
from tuner.training.settings import Training
from tuner.training.streams import global_stream

SIDE = 16
UNCHANGED = CropAndColor(flip=False, color_jitter=0.0, lighting=0.0)
AS_PUBLISHED = CropAndColor(flip=True, color_jitter=0.4, lighting=0.1)


def save(array: np.ndarray, path: Path, mode: str = "RGB") -> None:
    Image.fromarray(array.astype(np.uint8)).convert(mode).save(path, format="JPEG", quality=95)


def files_of(folder: Path, names: list[str], workers: int = 0, image_size: int = SIDE) -> ImageFiles:
    labels = torch.arange(len(names)) % 2
    return ImageFiles(str(folder), np.array([name.encode() for name in names]), labels, image_size, workers)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """24 JPEGs of random pixels and sizes; one is grey, one CMYK; and three plain pictures."""
    folder = tmp_path_factory.mktemp("files")
    random = np.random.default_rng(0)
    for number in range(24):
        mode = {3: "L", 5: "CMYK"}.get(number, "RGB")
        save(random.integers(0, 256, (*random.integers(20, 40, 2), 3)), folder / f"{number:02}.JPEG", mode)
    save(np.full((20, 20, 3), 128), folder / "grey.JPEG")
    save(np.broadcast_to([100, 50, 25], (20, 20, 3)), folder / "orange.JPEG")
    down, right = np.mgrid[:100, :100] * 2
    save(np.stack([right, down, np.zeros_like(down)], 2), folder / "ramps.JPEG")
    return folder


def noise_files(folder: Path, workers: int = 0) -> ImageFiles:
    return files_of(folder, [f"{number:02}.JPEG" for number in range(24)], workers)


def often(folder: Path, name: str, times: int) -> ImageFiles:
    """One file, so many times: each time with draws of its own."""
    return files_of(folder, [name]).take(torch.zeros(times, dtype=torch.int64))


def data_of(files: ImageFiles, augmentation: CropAndColor = AS_PUBLISHED, mean: float = 0.0, std: float = 1.0) -> Data:
    """With the default mean and std, images are on the [0,1] scale."""
    return Data(files, None, None, classes=2, mean=(mean,) * 3, std=(std,) * 3, augmentation=augmentation)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def epoch_of(files: ImageFiles, batch_size: int = 5, start: int = 0, **changed) -> list[tuple[Tensor, Tensor]]:
    """A training epoch's batches."""
    return list(files.batches(data_of(files, **changed), batch_size, train=True).epoch(seeded(), start))


def evaluated(files: ImageFiles, **changed) -> tuple[Tensor, Tensor]:
    """All images with their labels, as an evaluation gets them."""
    batches = files.batches(data_of(files, **changed), 7, train=False).epoch()
    return tuple(torch.cat(part) for part in zip(*batches, strict=True))


def assert_same(first, second):
    assert len(first) == len(second)
    assert all(torch.equal(*pair) for pair in zip(chain(*first), chain(*second), strict=True))


def test_any_number_of_processes_gives_the_same_batches(folder):
    alone = epoch_of(noise_files(folder))
    assert [len(labels) for _, labels in alone] == [5, 5, 5, 5, 4]
    assert all((images.dtype, labels.dtype) == (torch.float32, torch.int64) for images, labels in alone)
    for workers in (1, 2):
        assert_same(epoch_of(noise_files(folder, workers)), alone)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_late_start_gives_the_rest_of_the_same_epoch(folder, workers):
    whole = epoch_of(noise_files(folder))
    for start in (1, 4, 5):
        assert_same(epoch_of(noise_files(folder, workers), start=start), whole[start:])


def test_processes_that_are_started_afresh_decode_the_same(folder):
    """What travels to one is pickled where it is not forked."""
    decoder = Decoder(noise_files(folder), training_view(SIDE, AS_PUBLISHED), seed=7)
    assert torch.equal(pickle.loads(pickle.dumps(decoder))[[4, 2]], decoder[[4, 2]])


def test_an_epoch_shows_each_image_once_with_its_own_label(folder):
    files = replace(noise_files(folder), labels=torch.arange(24))
    labels = torch.cat([labels for _, labels in epoch_of(files)])
    assert sorted(labels.tolist()) == list(range(24))
    assert labels.tolist() != list(range(24))
    ((images, labels),) = epoch_of(often(folder, "orange.JPEG", 6), 6, augmentation=UNCHANGED)
    colours = torch.tensor([100, 50, 25]).view(3, 1, 1) / 255
    assert (images - colours).abs().max() < 2 / 255
    with_grey = files_of(folder, ["orange.JPEG", "grey.JPEG"]).take(torch.arange(20) % 2)
    for images, labels in epoch_of(with_grey, augmentation=UNCHANGED):
        assert torch.equal(labels == 1, (images[:, 0] - images[:, 2]).amax((1, 2)) < 0.1)


def test_other_epochs_draw_anew(folder):
    files = often(folder, "ramps.JPEG", 4)
    batches = files.batches(data_of(files), 4, train=True)
    views = {images[0].sum().item() for seed in range(5) for images, _ in batches.epoch(seeded(seed))}
    assert len(views) == 5
    ((images, _),) = batches.epoch(seeded())
    assert len({image.sum().item() for image in images}) == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_is_in_order_and_as_torchvision_would(folder, workers):
    files = noise_files(folder, workers)
    images, labels = evaluated(files, mean=0.4, std=0.2)
    assert torch.equal(labels, files.labels)
    for row, image in enumerate(images):
        with Image.open(files.path(row)) as file:
            rgb = file.convert("RGB")
        # 16 x 256/224 = 18.3 pixels for the shorter side; the rest of the centre is cut as torchvision rounds it.
        scale = 18 / min(rgb.size)
        sides = [18 if side == min(rgb.size) else int(scale * side) for side in rgb.size]
        square = v2.functional.center_crop(rgb.resize(sides, Image.Resampling.BILINEAR), [16, 16])
        assert torch.allclose(image, (pil_to_tensor(square) / 255 - 0.4) / 0.2, rtol=0, atol=1e-5)


def test_evaluation_at_224_pixels_resizes_to_256(folder):
    resize, crop, _ = evaluation_view(224).transforms
    assert (resize.size, crop.size) == ([256], (224, 224))


def test_grey_and_cmyk_files_become_rgb(folder):
    images, _ = evaluated(noise_files(folder).take(torch.tensor([3, 5])))
    assert images.shape == (2, 3, SIDE, SIDE)
    assert torch.equal(images[0, 0], images[0, 2])
    assert not torch.equal(images[1, 0], images[1, 2])


@pytest.mark.parametrize(("flip", "share"), [(True, 0.5), (False, 0.0)])
def test_half_of_the_images_are_mirrored_if_any(folder, flip, share):
    ((images, _),) = epoch_of(often(folder, "ramps.JPEG", 400), 400, augmentation=replace(UNCHANGED, flip=flip))
    mirrored = (images[:, 0, :, 0] > images[:, 0, :, -1]).all(1)
    assert mirrored.float().mean().item() == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 400))
    assert (images[:, 1, 0] < images[:, 1, -1]).all()  # never upside down


def test_crops_show_8_to_100_percent_of_the_area_at_3_to_4_up_to_4_to_3(folder):
    """The red ramp tells how wide a crop was, the green one how high: 2/255 a pixel of 100."""
    ((images, _),) = epoch_of(often(folder, "ramps.JPEG", 400), 400, augmentation=UNCHANGED)
    # Between the centres of the first and last of 16 pixels lie 15/16 of a crop.
    width, height = (
        255 / 2 * 16 / 15 * (last - first).mean(1)
        for first, last in (
            (images[:, 0, :, 0], images[:, 0, :, -1]),
            (images[:, 1, 0], images[:, 1, -1]),
        )
    )
    area, aspect = width * height / 100**2, width / height
    assert 0.06 < area.min() < 0.12
    assert 0.85 < area.max() < 1.02
    assert 0.4 < area.median() < 0.6
    assert 0.7 < aspect.min() < 0.8
    assert 1.25 < aspect.max() < 1.43


def test_brightness_is_a_uniform_factor(folder):
    """On plain grey, contrast and saturation change nothing: the factors are U[0.6, 1.4], of which the std is 0.231."""
    grey = often(folder, "grey.JPEG", 400)
    ((images, _),) = epoch_of(grey, 400, augmentation=replace(UNCHANGED, color_jitter=0.4))
    factors = images[:, 0, 0, 0] * 255 / 128
    assert factors.mean().item() == pytest.approx(1, abs=4 * 0.231 / 20)
    assert factors.std().item() == pytest.approx(0.231, abs=0.02)
    assert 0.59 < factors.min() < 0.63
    assert 1.37 < factors.max() < 1.41
    ((images, _),) = epoch_of(grey, 400, augmentation=UNCHANGED)
    assert (images == 128 / 255).all()


def test_contrast_and_saturation_both_change_how_colourful_a_plain_picture_is(folder):
    """Each by a factor in [0.6, 1.4], so both by one in [0.36, 1.96]; the hue stays."""
    orange = often(folder, "orange.JPEG", 200)
    grey = torch.tensor([0.299, 0.587, 0.114])
    ((plain, _),) = epoch_of(orange, 200, augmentation=UNCHANGED)
    assert (plain == plain[0, :, :1, :1]).all()
    ((jittered, _),) = epoch_of(orange, 200, augmentation=replace(UNCHANGED, color_jitter=0.4))
    colourful = [
        (colours[:, 0] - colours[:, 2]) / (colours @ grey) for colours in (jittered[..., 0, 0], plain[..., 0, 0])
    ]
    factors = colourful[0] / colourful[1]
    assert 0.3 < factors.min() < 0.55
    assert 1.5 < factors.max() < 2.1
    assert (jittered[:, 0] > jittered[:, 1]).all()
    assert (jittered[:, 1] > jittered[:, 2]).all()


def test_lighting_by_hand():
    normals = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, -2], [1, 1, -2]])
    red, green, blue = lighting(normals, std=0.1).T
    # .1 x .2175 x -.5675, .1 x .0188 x .7192, -.2 x .0045 x .4009, and their sum
    assert red.tolist() == pytest.approx([-0.012343, 0.001352, -0.000361, -0.011352], abs=1e-6)
    assert green.tolist() == pytest.approx([-0.012632, -0.000008, 0.000733, -0.011908], abs=1e-6)
    assert blue.tolist() == pytest.approx([-0.012693, -0.001306, -0.000378, -0.014378], abs=1e-6)


def test_the_principal_components_are_orthonormal():
    vectors = torch.tensor(EIGENVECTORS)
    assert torch.allclose(vectors.T @ vectors, torch.eye(3), rtol=0, atol=2e-4)


def test_each_image_is_lit_by_one_draw_of_the_published_covariance(folder):
    grey = replace(often(folder, "grey.JPEG", 400), labels=torch.arange(400))
    batches = epoch_of(grey, 50, augmentation=replace(UNCHANGED, lighting=0.1), mean=0.5, std=0.25)
    images, rows = (torch.cat(part) for part in zip(*batches, strict=True))
    assert torch.equal(images, images[:, :, :1, :1].expand_as(images))
    noise = images[:, :, 0, 0] * 0.25 + 0.5 - 128 / 255
    generator = seeded()
    torch.randperm(400, generator=generator)
    torch.randint(2**63 - 1, (), generator=generator)
    assert torch.allclose(noise, lighting(torch.randn(400, 3, generator=generator), std=0.1)[rows], rtol=0, atol=1e-6)
    strengths = noise @ torch.tensor(EIGENVECTORS) / (0.1 * torch.tensor(EIGENVALUES))
    assert strengths.mean(0).tolist() == pytest.approx([0] * 3, abs=4 / 20)
    # A variance of 400 normals has a standard error of sqrt(2/400), a covariance one of 1/20.
    assert torch.allclose(strengths.T.cov(), torch.eye(3), rtol=0, atol=4 * math.sqrt(2 / 400))


def test_a_view_draws_from_the_stream_of_its_image(folder):
    files = noise_files(folder)
    decoder = Decoder(files, training_view(SIDE, AS_PUBLISHED), seed=11)
    with Image.open(files.path(9)) as file, global_stream(11, "image", 9):
        expected = training_view(SIDE, AS_PUBLISHED)(file.convert("RGB"))
    assert torch.equal(decoder[[9]][0], expected)
    assert torch.equal(decoder[[8, 9, 1]][1], expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_torchs_global_generator_is_left_alone(folder, workers):
    state = torch.get_rng_state()
    epoch_of(noise_files(folder, workers))
    evaluated(noise_files(folder, workers))
    assert torch.equal(torch.get_rng_state(), state)


def test_no_process_outlives_its_epoch(folder):
    files = noise_files(folder, workers=2)
    batches = files.batches(data_of(files), 2, train=True)
    for _ in batches.epoch(seeded()):
        assert len(multiprocessing.active_children()) == 2
        break  # as a run does that is told to stop
    assert not multiprocessing.active_children()
    epoch = batches.epoch(seeded())
    next(epoch)
    epoch.close()
    assert not multiprocessing.active_children()
    list(batches.epoch(seeded()))
    assert not multiprocessing.active_children()


def test_there_are_no_more_processes_than_batches(folder):
    files = noise_files(folder, workers=2)
    for _ in files.batches(data_of(files), 24, train=True).epoch(seeded()):
        assert len(multiprocessing.active_children()) <= 1


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_file_is_named_in_one_sentence(folder, tmp_path, workers):
    names = ["sound.JPEG", "cut.JPEG"]
    content = (folder / "00.JPEG").read_bytes()
    (tmp_path / names[0]).write_bytes(content)
    (tmp_path / names[1]).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"cut\.JPEG cannot be decoded as an image \(.*\); replace") as broken:
        evaluated(files_of(tmp_path, names, workers))
    assert "Traceback" not in str(broken.value)
    (tmp_path / names[1]).unlink()
    with pytest.raises(ValueError, match=r"cut\.JPEG cannot be decoded .*No such file"):
        evaluated(files_of(tmp_path, names, workers))
    assert not multiprocessing.active_children()


def deadly_if_grey(image: Image.Image) -> Tensor:
    if image.size == (20, 20):
        os.kill(os.getpid(), signal.SIGKILL)
    return evaluation_view(SIDE)(image)


def test_a_killed_process_is_told_with_what_to_do_and_takes_the_others_along(folder):
    files = files_of(folder, ["ramps.JPEG", "grey.JPEG"], workers=2)
    with pytest.raises(RuntimeError, match=r"died \(.*\); .*/dev/shm.*lower the data set's workers") as told:
        list(files.decoded([torch.tensor([0]), torch.tensor([1])] * 4, deadly_if_grey))
    assert not multiprocessing.active_children()
    assert "DataLoader worker" in str(told.value.__cause__)


def failing(image: Image.Image) -> Tensor:
    raise RuntimeError("a fault of the view's own")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_fault_of_a_view_is_not_taken_for_a_killed_process(folder, workers):
    with pytest.raises(RuntimeError, match=r"(?s)^(?!.*died).*a fault of the view's own"):
        list(noise_files(folder, workers).decoded([torch.arange(2)], failing))


def test_a_subset_of_a_subset_is_other_files_with_their_labels(folder):
    files = replace(noise_files(folder), labels=torch.arange(24))
    subset = files.take(torch.tensor([7, 1, 4, 8])).take(torch.tensor([3, 0, 2]))
    assert [Path(subset.path(row)).name for row in range(3)] == ["08.JPEG", "07.JPEG", "04.JPEG"]
    assert (subset.labels.tolist(), subset.shape) == ([8, 7, 4], (3, SIDE, SIDE))
    assert torch.equal(evaluated(subset)[0], evaluated(files)[0][[8, 7, 4]])


def test_only_batches_are_on_the_device(folder):
    files = noise_files(folder).to("meta")
    assert files.labels.device.type == "cpu"
    ((images, labels),) = files.batches(data_of(files), 24, train=True).epoch(seeded())
    assert {images.device.type, labels.device.type} == {"meta"}


def test_labels_are_one_integer_for_each_file(folder):
    for labels in (torch.zeros(23, dtype=torch.int64), torch.zeros(24)):
        with pytest.raises(ValueError, match=r"labels must be int64 \(24,\)"):
            replace(noise_files(folder), labels=labels)


def test_the_digest_sees_names_sizes_labels_and_the_side_and_reads_no_image(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"no image")
    files = files_of(tmp_path, ["a", "b"])
    digest = files.digest()
    assert files_of(tmp_path, ["a", "b"], workers=2).digest() == digest
    assert files_of(tmp_path, ["a", "b", "longer"]).take(torch.arange(2)).digest() == digest
    others = {
        files_of(tmp_path, ["b", "a"]).digest(),
        files_of(tmp_path, ["a", "b"], image_size=8).digest(),
        replace(files, labels=files.labels.flip(0)).digest(),
    }
    (tmp_path / "b").write_bytes(b"not an image")
    assert len(others | {digest, files.digest()}) == 5


def test_the_digest_of_many_files_depends_on_the_last(tmp_path):
    names = [f"{number}" for number in range(600)]
    for name in names:
        (tmp_path / name).touch()
    digest = files_of(tmp_path, names).digest()
    (tmp_path / "599").write_bytes(b"1")
    assert files_of(tmp_path, names).digest() != digest


def test_statistics_are_those_of_the_images_as_evaluated(folder):
    files = noise_files(folder)
    mean, std = files.statistics()
    pixels = evaluated(files)[0].double()
    assert mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), rel=1e-6)
    assert std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist(), rel=1e-6)
    assert files_of(folder, ["grey.JPEG"]).statistics() == (pytest.approx((128 / 255,) * 3), (1.0,) * 3)


def a_run(folder: Path, workers: int, **changed):
    """6 steps: 2 epochs of 3 batches, by a method that draws."""
    files = noise_files(folder, workers)
    held = files.take(torch.arange(8))
    return fit(
        model=PreActResNet18(width=4, blocks=(1, 1, 1, 1)),
        regularizer=get("mixup")(),
        data=replace(data_of(files, mean=0.5, std=0.25), validation=held, test=held),
        training=Training(epochs=2, batch_size=8, lr=0.05, weight_decay=5e-4, schedule={"name": "cosine"}),
        seed=0,
        **changed,
    )


def timeless(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.parametrize("batches", [1, 4])
def test_a_stopped_run_goes_on_bit_for_bit_whoever_decodes(tmp_path, folder, batches):
    whole, parts = Checkpoints(tmp_path / "whole"), Checkpoints(tmp_path / "parts")
    rows = timeless(a_run(folder, workers=0, checkpoints=whole))
    polls = iter(range(batches))
    list(a_run(folder, workers=2, checkpoints=parts, should_stop=lambda: next(polls, None) is None))
    assert not multiprocessing.active_children()
    assert timeless(a_run(folder, workers=1, checkpoints=parts)) == rows
    weights = [torch.load(tmp_path / name / "weights.pt", weights_only=True) for name in ("whole", "parts")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
