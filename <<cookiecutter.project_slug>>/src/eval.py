"""Evaluate a checkpoint on the test set of the data that it was trained with.

python src/eval.py ckpt_path=logs/train/runs/ID/checkpoints/epoch_009.ckpt
python src/eval.py ckpt_path=best                         # of the newest run; a run's folder, ...
python src/eval.py ckpt_path=PATH data.eval_batch_size=64  # overrides apply on top
python src/eval.py ckpt_path=PATH data=digits             # another dataset
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a script: `src` itself lies one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import hydra
from omegaconf import DictConfig

from src.runtime import cli, hydra_versions
from src.runtime.checkpoint import checkpoint_config
from src.runtime.identity import CONFIGS

if TYPE_CHECKING:
    from torch import Tensor

    from src.runtime.build import Objects


def evaluate(cfg: DictConfig) -> tuple[dict[str, "Tensor"], "Objects"]:
    """Test the model of `cfg.ckpt_path`.

    Returns:
        The metrics by name, as in `trainer.callback_metrics`, and what the run was made of.
    """
    from src.runtime import runs
    from src.runtime.build import build

    cfg = checkpoint_config.completed(cfg)
    with runs.recorded(cfg) as run:
        objects = run.objects = build(cfg)
        trainer, model, datamodule = objects["trainer"], objects["model"], objects["datamodule"]
        trainer.test(model, datamodule, cfg.ckpt_path, verbose=False)  # the results come last
        run.metrics |= trainer.callback_metrics
    return run.metrics, objects


@hydra.main(config_path=CONFIGS, config_name="eval", **hydra_versions.MAIN)
@cli.task
def main(cfg: DictConfig) -> None:
    """Evaluate."""
    evaluate(cfg)


if __name__ == "__main__":
    cli.run(main, "eval", checkpoint_config.arguments)
