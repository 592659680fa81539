"""Ways to learn that need more than a loss: teachers, searches, steps within the loss."""

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from lightning_code import Classifier
from lightning_data import CLASSES, FEATURES, PlainData, stacked
from torch import Tensor, nn

# --- self-supervised ----------------------------------------------------------------------------


def as_two_views(items: list[Any]) -> Any:
    x, y = stacked(items)
    return [x, 1.1 * x], y


class TwoViews(PlainData):
    collate = as_two_views


class MomentumEncoder(Classifier):
    """A second encoder follows the first; a buffer is a queue of its outputs."""

    def __init__(self, length: int = 16) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))
        self.follower = copy.deepcopy(self.net).requires_grad_(False)
        self.register_buffer("queue", F.normalize(torch.randn(4, length), dim=0))
        self.register_buffer("position", torch.zeros(1, dtype=torch.long))

    @torch.no_grad()
    def follow(self) -> None:
        for own, other in zip(self.follower.parameters(), self.net.parameters(), strict=True):
            own.data = own.data * 0.9 + other.data * 0.1

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        start = int(self.position)
        self.queue[:, start : start + len(keys)] = keys.T
        self.position[0] = (start + len(keys)) % self.queue.shape[1]

    def forward(self, first: Tensor, second: Tensor) -> Any:  # type: ignore[override]
        query = F.normalize(self.net(first), dim=1)
        with torch.no_grad():
            key = F.normalize(self.follower(second), dim=1)
        positive = (query * key).sum(1, keepdim=True)
        return torch.cat([positive, query @ self.queue.clone()], 1), key

    def loss(self, batch: Any) -> Tensor:
        logits, key = self(*batch[0])
        if self.training:
            self.follow()
            self.enqueue(key)
        return F.cross_entropy(logits / 0.2, torch.zeros(len(logits), dtype=torch.long))


class HiddenTeacher(Classifier):
    """A teacher that is no submodule, a plain tensor, and a schedule made when training starts."""

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["teacher"] = copy.deepcopy(self.net).requires_grad_(False)
        self.center = torch.zeros(1, CLASSES)

    def on_train_start(self) -> None:
        steps = int(self.trainer.estimated_stepping_batches)
        self.momenta = [1 - 0.05 * (1 + math.cos(math.pi * i / steps)) for i in range(steps + 1)]

    def loss(self, batch: Any) -> Tensor:
        target = (self.teacher(batch[0]) - self.center).softmax(-1)
        return F.cross_entropy(self.net(batch[0]), target)

    @torch.no_grad()
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        momentum = self.momenta[self.trainer.global_step]
        for own, other in zip(self.teacher.parameters(), self.net.parameters(), strict=True):
            own.mul_(momentum).add_((1 - momentum) * other)
        self.center = self.center * 0.9 + 0.1 * self.net[1].bias[None]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["teacher"] = self.teacher.state_dict()
        checkpoint["center"] = self.center

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.teacher.load_state_dict(checkpoint["teacher"])
        self.center = checkpoint["center"]


# --- metric and meta learning, distillation -----------------------------------------------------


def as_triplets(items: list[Any]) -> Any:
    x, y = stacked(items)
    return {"anchor": x, "positive": x + 0.01, "negative": x.flip(0)}, y


class TripletData(PlainData):
    collate = as_triplets


class Embeds(Classifier):
    """The embeddings of a validation are searched at its end."""

    def on_validation_epoch_start(self) -> None:
        self.found: list[Any] = []

    def loss(self, batch: Any) -> Tensor:
        parts = {name: self.net(part) for name, part in batch[0].items()}
        return F.triplet_margin_loss(parts["anchor"], parts["positive"], parts["negative"])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.found.append((self.net(batch[0]["anchor"]), batch[1]))

    def on_validation_epoch_end(self) -> None:
        embedded, labels = (torch.cat(part) for part in zip(*self.found, strict=True))
        nearest = torch.cdist(embedded, embedded).fill_diagonal_(9e9).argmin(1)
        self.log("val_recall", (labels[nearest] == labels).float().mean())


class InnerSteps(Classifier):
    """A step within the loss, by `functional_call`; gradients in validation and test too."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def adapted(self, batch: Any) -> Tensor:
        x, y = batch
        half = len(x) // 2
        weights = dict(self.net.named_parameters())
        logits = torch.func.functional_call(self.net, weights, (x[:half],))
        loss = F.cross_entropy(logits, y[:half])
        slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        pairs = zip(weights.items(), slopes, strict=True)
        weights = {name: value - 0.1 * slope for (name, value), slope in pairs}
        logits = torch.func.functional_call(self.net, weights, (x[half:],))
        return F.cross_entropy(logits, y[half:])

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.optimizers().zero_grad()
        self.manual_backward(self.adapted(batch))
        self.optimizers().step()

    def loss(self, batch: Any) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            return self.adapted([part.clone() for part in batch]).detach()


class Distilled(Classifier):
    """A frozen LightningModule as the teacher, whose weights are not in the checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.teacher = Classifier()
        self.teacher.freeze()

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        self.teacher.eval()
        return self

    def loss(self, batch: Any) -> Tensor:
        target = self.teacher(batch[0]).softmax(1)
        return F.cross_entropy(self(batch[0]), target) + super().loss(batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        weights = checkpoint["state_dict"]
        for name in [name for name in weights if name.startswith("teacher.")]:
            del weights[name]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, value in self.teacher.state_dict().items():
            checkpoint["state_dict"][f"teacher.{name}"] = value


class Ensemble(Classifier):
    """LightningModules inside that log for themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList([Classifier(), Classifier()])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return sum(member.training_step(batch, batch_idx) for member in self.members)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([member(x) for member in self.members]).mean(0)

    def loss(self, batch: Any) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])
