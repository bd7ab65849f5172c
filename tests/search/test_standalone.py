"""The Trainable classes for anyone's own Tuner, without a Ray cluster (README's example runs one)."""

import pytest

from tuner.search.standalone import param_space, trainable_for

SETTINGS = {
    "split": {"train_per_class": 3, "validation_per_class": 3},
    "model": {"name": "preactresnet18", "width": 4, "blocks": [1, 1, 1, 1]},
    "training": {"epochs": 4, "batch_size": 10, "lr": 0.1, "weight_decay": 5e-4, "schedule": {"name": "constant"}},
}


def rows(trainable, count):
    return [{k: v for k, v in trainable.step().items() if k != "seconds"} for _ in range(count)]


@pytest.fixture
def mixup_on_digits():
    return trainable_for("mixup", "digits", **SETTINGS)


def test_the_class_is_named_after_method_and_data_set(mixup_on_digits):
    assert mixup_on_digits.__name__ == "MixupOnDigits"


def test_every_result_is_an_epoch_and_the_last_one_is_done(mixup_on_digits):
    results = rows(mixup_on_digits({"lr": 0.05, "alpha": 0.5, "seed": 1}), 4)
    assert [result["epoch"] for result in results] == [1, 2, 3, 4]
    assert [result["done"] for result in results] == [False, False, False, True]
    assert results[0]["lr"] == 0.05


def test_a_restored_trial_goes_on_where_it_was(mixup_on_digits, tmp_path):
    whole = rows(mixup_on_digits({"lr": 0.05}), 4)
    first = mixup_on_digits({"lr": 0.05})
    rows(first, 2)
    first.save_checkpoint(str(tmp_path))
    second = mixup_on_digits({"lr": 0.05})
    second._iteration = 2  # what Ray's own restore sets
    second.load_checkpoint(str(tmp_path))
    assert rows(second, 2) == whole[2:]


def test_a_checkpoint_of_other_hyperparameters_is_refused(mixup_on_digits, tmp_path):
    trainable = mixup_on_digits({"lr": 0.05})
    trainable.step()
    trainable.save_checkpoint(str(tmp_path))
    with pytest.raises(ValueError, match="goes on with the hyper-parameters it began with"):
        mixup_on_digits({"lr": 0.2}).load_checkpoint(str(tmp_path))


def test_a_reused_actor_trains_as_a_fresh_one(mixup_on_digits):
    reused = mixup_on_digits({"lr": 0.05, "alpha": 2.0})
    rows(reused, 2)
    assert reused.reset_config({"lr": 0.1, "alpha": 0.3})
    assert rows(reused, 4) == rows(mixup_on_digits({"lr": 0.1, "alpha": 0.3}), 4)


def test_unknown_methods_and_illegal_settings_are_refused():
    with pytest.raises(ValueError, match="did you mean mixup"):
        trainable_for("mixupp", "digits", **SETTINGS)
    with pytest.raises(ValueError, match="alpha"):
        trainable_for("mixup", "digits", **SETTINGS, alpha=-1.0)


def test_the_param_space_is_that_of_the_repository():
    space = param_space("patchup_hard")
    assert set(space) == {"lr", "weight_decay", "patchup_prob", "gamma", "block_size"}
    assert space["block_size"].categories == [3, 5, 7, 9]
    assert (space["lr"].lower, space["lr"].upper) == (0.01, 0.3)
