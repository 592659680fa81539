"""Modules and DataModules of images, for other tasks than classification."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning_code import Classifier
from lightning_data import (
    EVAL,
    ImageData,
    stacked,
)
from torch import Tensor, nn
from torchmetrics import Accuracy, JaccardIndex, MetricCollection
from torchmetrics.wrappers import ClasswiseWrapper


def as_detection(items: list[Any]) -> Any:
    """Images of different heights, and a dictionary for each; some hold no box."""
    images = [x[:, : 4 + i % 4] for i, (x, _) in enumerate(items)]
    boxes = [torch.full((i % 3, 4), 0.5) for i in range(len(items))]
    targets = [{"boxes": b, "labels": torch.ones(len(b)).long()} for b in boxes]
    return tuple(images), tuple(targets)


class DetectionData(ImageData):
    collate = as_detection


class Detector(Classifier):
    """Losses in training, detections in evaluation, which are scored at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.net = nn.AdaptiveAvgPool2d(1), nn.Linear(3, 4)
        self.scores: list[Tensor] = []

    def forward(self, images: Any, targets: Any = None) -> Any:  # type: ignore[override]
        boxes = self.net(torch.stack([self.pool(image).flatten() for image in images]))
        if not self.training:
            return [{"boxes": box[None], "scores": box.mean()[None]} for box in boxes]
        pairs = zip(boxes, targets, strict=True)
        losses = [(box - target["boxes"]).abs().sum() for box, target in pairs]
        return {"loss_box": torch.stack(losses).mean(), "loss_size": boxes.pow(2).mean()}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        losses = self(*batch)
        self.log_dict(losses, batch_size=len(batch[0]))
        return sum(losses.values())

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        found = self(batch[0])
        self.scores += [one["scores"] for one in found]
        return {"found": found, "targets": batch[1]}

    test_step = validation_step

    def log_scores(self, stage: str) -> None:
        assert len(self.scores) == EVAL or self.trainer.sanity_checking
        self.log(f"{stage}/score", torch.cat(self.scores).mean(), prog_bar=True)
        self.scores.clear()

    def on_validation_epoch_end(self) -> None:
        self.log_scores("val")

    def on_test_epoch_end(self) -> None:
        self.log_scores("test")


def with_masks(items: list[Any]) -> Any:
    x, _ = stacked(items)
    meta = [{"name": f"{i}.png", "size": (8, 8)} for i in range(len(x))]
    return {"image": x, "mask": (x[:, 0] > 0).long(), "meta": meta}


class MaskData(ImageData):
    collate = with_masks


class MaskSegmenter(Classifier):
    """A metric for each class in a collection; files beside the log."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(3, 2, 3, padding=1)
        overlap = JaccardIndex("multiclass", num_classes=2, average=None)
        metrics = {
            "iou": ClasswiseWrapper(overlap, ["back", "front"], prefix="iou_"),
            "acc": Accuracy("multiclass", num_classes=2),
        }
        self.metrics = MetricCollection(metrics, prefix="val/")

    def loss(self, batch: Any) -> Tensor:
        return F.cross_entropy(self.net(batch["image"]), batch["mask"])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.metrics.update(self.net(batch["image"]), batch["mask"])

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.metrics.compute())
        self.metrics.reset()
        folder = Path(self.trainer.log_dir) / "masks"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{self.current_epoch}.npy", np.zeros(2))
