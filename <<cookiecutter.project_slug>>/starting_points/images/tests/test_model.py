"""The image classifier: its metrics are those of a loop by hand; the nets map images to logits."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from src.data.image_folder_datamodule import ImageFolderDataModule
from src.runtime.build import config_filled_from_datamodule
from src.runtime.project import instantiate
from src.train import train
from tests.conftest import Compose
from tests.small_run import OVERRIDES


def test_metrics_of_an_epoch_are_those_of_all_its_images(composed: Compose) -> None:
    small = ("experiment=mon_experience", *OVERRIDES, "trainer.limit_val_batches=1.0")
    metrics, objects = train(composed(*small, "test=false"))
    model, datamodule = objects["model"].eval(), objects["datamodule"]
    with torch.no_grad():
        batches = [
            (model(datamodule.normalize(images)), labels)
            for images, labels in datamodule.val_dataloader()
        ]
    logits, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert metrics["val/loss"].item() == pytest.approx(cross_entropy(logits, labels).item())
    accuracy = (logits.argmax(dim=1) == labels).float().mean().item()
    assert metrics["val/acc"].item() == pytest.approx(accuracy)


@pytest.mark.parametrize("choice", ["model/net=cnn", "model/net=resnet18"])
def test_each_net_maps_images_to_logits(composed: Compose, choice: str) -> None:
    cfg = config_filled_from_datamodule(composed(choice), ImageFolderDataModule("digits"))
    assert instantiate(cfg.model.net)(torch.randn(2, 3, 16, 16)).shape == (2, 10)
