"""What was measured so far in an epoch: Lightning leaves it out of its checkpoints."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torchmetrics import Metric


def capture(trainer: Trainer) -> dict[str, Any]:
    """Return, as plain data, the metrics of a fit between two batches or two epochs."""
    module = trainer.lightning_module
    kept = module.state_dict().keys()
    return {
        "modules": {
            name: {"values": metric.metric_state, "updates": metric.update_count}
            for name, metric in module.named_modules()
            if isinstance(metric, Metric)
        },
        # A hand-written running mean, say, in a buffer that is not persistent.
        "buffers": {name: b for name, b in module.named_buffers() if name not in kept},
        "means": {
            key: {name: getattr(result, name) for name in result._defaults}
            for key, result in _results(trainer).items()
            if result.is_tensor and not result.has_reset
        },
        "callback": dict(trainer.callback_metrics),
    }


def restore(module: LightningModule, states: dict[str, Any]) -> None:
    """Set the metrics and buffers inside a module to what `capture` returned."""
    for name, state in states["modules"].items():
        metric: Any = module.get_submodule(name)
        for key, value in state["values"].items():
            setattr(metric, key, _to(metric.device, value))
        metric._update_count, metric._computed = state["updates"], None
    for name, value in states["buffers"].items():
        module.get_buffer(name).copy_(value)


def add_means(trainer: Trainer, means: dict[str, Any]) -> None:
    """Add what `capture` found to what `self.log` averages over the epoch, and empty `means`.

    After the first batch: only then does Lightning know what is logged, and how it is reduced.
    """
    for key, result in _results(trainer).items():
        for name, saved in means.pop(key, {}).items():
            value = getattr(result, name)
            saved = saved.to(value.device)
            if result.meta.is_max_reduction or result.meta.is_min_reduction:
                setattr(result, name, result.meta.reduce_fx(torch.stack([saved, value])))
            else:
                setattr(result, name, saved + value)
            result._computed = None


def set_means(trainer: Trainer, means: dict[str, Any]) -> None:
    """Set what `self.log` averages over the epoch to what `capture` returned."""
    for key, result in _results(trainer).items():
        if result.is_tensor and key not in means:
            result.reset()
        for name, value in means.get(key, {}).items():
            setattr(result, name, value)
            result._computed = None


def _results(trainer: Trainer) -> dict[str, Any]:
    return trainer.fit_loop.epoch_loop._results


def _to(device: torch.device, value: Any) -> Any:
    return [v.to(device) for v in value] if isinstance(value, list) else value.to(device)
