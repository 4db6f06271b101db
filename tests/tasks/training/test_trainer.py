"""Settings of the trainer: what Lightning would answer by an error without a name is refused."""

import math

import pytest
from jsonargparse import Namespace

from tasks.training.trainer import check_trainer


@pytest.mark.parametrize(
    "name, value",
    [
        ("check_val_every_n_epoch", 0),
        ("check_val_every_n_epoch", -1),
        ("val_check_interval", 0),
        ("val_check_interval", 0.0),
        ("val_check_interval", math.nan),
        ("accumulate_grad_batches", 0),
        ("accumulate_grad_batches", -1),
        ("accumulate_grad_batches", 10**30),
        ("limit_predict_batches", -1),
        ("limit_val_batches", 1.5),
        ("overfit_batches", math.nan),
        ("gradient_clip_val", -1.0),
        ("gradient_clip_val", math.nan),
        ("gradient_clip_val", math.inf),
        ("num_sanity_val_steps", -2),
        ("log_every_n_steps", -1),
        ("reload_dataloaders_every_n_epochs", -1),
        ("min_epochs", -1),
        ("min_steps", -1),
        ("num_nodes", 10**9),
        ("devices", ""),
        ("devices", "nonsense"),
        ("devices", 0),
        ("devices", -2),
        ("devices", 10**9),
        ("devices", [0, -1]),
    ],
)
def test_what_has_no_meaning_is_refused_by_its_name(name, value):
    with pytest.raises(ValueError, match=rf"^trainer\.{name}: .*; accepted: "):
        check_trainer(Namespace({name: value}))


@pytest.mark.parametrize("devices", ["auto", -1, "-1", 2, "2", [0, 1], "0, 1", None])
def test_devices_that_are_accepted(devices):
    check_trainer(Namespace(devices=devices))


def test_the_defaults_are_accepted():
    check_trainer(
        Namespace(
            check_val_every_n_epoch=1,
            val_check_interval=None,
            accumulate_grad_batches=1,
            gradient_clip_val=None,
            num_sanity_val_steps=None,
            devices="auto",
            num_nodes=1,
        )
    )
    check_trainer(Namespace(val_check_interval="00:15:00:00", check_val_every_n_epoch=None))
