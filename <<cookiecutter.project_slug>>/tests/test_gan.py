"""The GAN: two optimizers take turns, and the measure tells real from made."""

from pathlib import Path

import torch
from torch import nn

from src.models.gan_module import GANLitModule
from src.train import train
from tests.conftest import Compose


def test_both_nets_learn_and_samples_are_drawn(composed: Compose, tmp_path: Path) -> None:
    cfg = composed(
        *("experiment=gan", "common/logger@logger=none", "trainer.max_epochs=2"),
        *("+trainer.limit_train_batches=3", "data.batch_size=16", "trainer.accelerator=cpu"),
        *("model.generator.width=4", "model.discriminator.width=4"),
    )
    metrics, objects = train(cfg)
    assert 0 <= metrics["test/nn_acc"] <= 1
    assert metrics["train/generator_loss"] != metrics["train/discriminator_loss"]
    assert objects["trainer"].global_step == 2 * 2 * 3  # of either optimizer
    assert len(list((tmp_path / "images").glob("samples_epoch_*.png"))) == 2


def test_the_measure_is_one_for_bad_images_and_a_half_for_real_ones() -> None:
    torch.manual_seed(0)
    images = torch.randn(200, 1, 4, 4)
    for generator, low, high in [
        (lambda noise: noise.view(-1, 1, 4, 4) + 100, 1, 1),
        (lambda noise: noise.view(-1, 1, 4, 4), 0.4, 0.6),
    ]:
        model = GANLitModule(nn.Identity(), nn.Identity(), torch.optim.Adam, torch.optim.Adam, 16)
        model.generator.forward = generator
        assert low <= model.compare((images, images)) <= high


def test_each_step_moves_one_net_by_its_own_loss(composed: Compose) -> None:
    from src.runtime.build import build

    frozen = ("model.generator_optimizer.lr=0", "+trainer.max_steps=4")
    objects = build(
        composed(
            *("experiment=gan", "common/logger@logger=none", "data.batch_size=16", *frozen),
            "common/callbacks@callbacks=none",
            "~callbacks.early_stopping",
        )
    )
    before = {k: v.clone() for k, v in objects["model"].named_parameters()}
    objects["trainer"].fit(objects["model"], objects["datamodule"])
    for name, parameter in objects["model"].named_parameters():
        assert torch.equal(parameter, before[name]) == name.startswith("generator.")
