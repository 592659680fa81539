"""Lightning's automatic optimization, said directly where nobody replaced a part of it.

Lightning asks the module, the strategy and the plugin for precision in turn for each part of a
step. On one device, in full precision, the answers are those of PyTorch.
"""

from collections import OrderedDict
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loops.optimization.automatic import Closure, _AutomaticOptimization
from lightning.pytorch.plugins import Precision
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.trainer import call
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor
from torch.optim import Optimizer

PARTS = (
    "optimizer_step",
    "optimizer_zero_grad",
    "backward",
    "configure_gradient_clipping",
    "clip_gradients",
)


def install(trainer: Trainer, model: LightningModule) -> None:
    """Take the place of Lightning's own in `trainer`, where each part of a step is Lightning's."""
    own = vars(LightningModule)
    if (
        type(trainer.strategy) is SingleDeviceStrategy
        and type(trainer.precision_plugin) is Precision
        and all(getattr(getattr(model, part), "__func__", None) is own[part] for part in PARTS)
    ):
        trainer.fit_loop.epoch_loop.automatic_optimization = LeanOptimization(trainer)


class LeanOptimization(_AutomaticOptimization):
    """The same calls in the same order, without the layers by which each could be replaced."""

    def run(
        self, optimizer: Optimizer, batch_idx: int, kwargs: OrderedDict[str, Any]
    ) -> dict[str, Any]:
        """Train on a batch; return the loss, detached, and what else `training_step` returned."""
        if self.trainer.accumulate_grad_batches != 1:
            return super().run(optimizer, batch_idx, kwargs)
        outputs: dict[str, Any] = {}
        self.optim_progress.optimizer.step.increment_ready()
        closure: Any = partial(self._closure, optimizer, kwargs, outputs)
        optimizer.step(closure)
        self.optim_progress.optimizer.step.increment_completed()
        return outputs if "loss" in outputs else {}

    @torch.enable_grad()
    def _closure(
        self, optimizer: Optimizer, kwargs: OrderedDict[str, Any], outputs: dict[str, Any]
    ) -> Tensor | None:
        loss = call._call_strategy_hook(self.trainer, "training_step", *kwargs.values())
        if not isinstance(loss, Tensor):  # a dict, None, or a mistake, which Lightning explains
            result = self.output_result_cls.from_training_step_output(loss)
            loss = result.closure_loss
            outputs.update(result.extra)
        progress = self.optim_progress.optimizer.zero_grad
        progress.increment_ready()
        self._call_hooks("on_before_zero_grad", optimizer)
        progress.increment_started()
        optimizer.zero_grad()
        progress.increment_completed()
        if loss is None:
            Closure.warning_cache.warn("`training_step` returned None: nothing is learned from it.")
        else:
            self._call_hooks("on_before_backward", loss)
            loss.backward()
            loss = outputs["loss"] = loss.detach()
            self._call_hooks("on_after_backward")
        self._call_hooks("on_before_optimizer_step", optimizer)
        self._clip(optimizer)
        return loss

    def _call_hooks(self, name: str, *args: Any) -> None:
        call._call_callback_hooks(self.trainer, name, *args)
        call._call_lightning_module_hook(self.trainer, name, *args)

    def _clip(self, optimizer: Optimizer) -> None:
        trainer: Any = self.trainer
        limit, algorithm = trainer.gradient_clip_val, trainer.gradient_clip_algorithm
        if not limit:
            return
        if algorithm == GradClipAlgorithmType.VALUE:
            trainer.precision_plugin.clip_grad_by_value(optimizer, limit)
        else:
            _clip_by_norm(optimizer, limit)


@torch.no_grad()
def _clip_by_norm(optimizer: Optimizer, limit: float) -> None:
    # `torch.nn.utils.clip_grad_norm_`, to the last bit, for gradients that are on one device.
    parameters = (p for group in optimizer.param_groups for p in group["params"])
    gradients = [p.grad for p in parameters if p.grad is not None]
    if gradients:
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_mul_(gradients, (limit / (norm + 1e-6)).clamp(max=1))
