"""Test a checkpoint on the test set of the data that it was trained with.

python src/eval.py ckpt_path=logs/train/runs/ID           # a run folder: its best checkpoint
python src/eval.py ckpt_path=PATH.ckpt                    # a file, from any machine
python src/eval.py ckpt_path=best                         # of the newest run
python src/eval.py ckpt_path=PATH data.batch_size=64      # overrides apply on top
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script: `src` itself lies one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from omegaconf import DictConfig

from src.runtime.command_line import hydra_command
from src.runtime.overrides import resolve_checkpoint_argument

if TYPE_CHECKING:
    from src.runtime.build import Objects


def evaluate(cfg: DictConfig) -> tuple[dict[str, Any], "Objects"]:
    """Test the model of `cfg.ckpt_path`.

    Returns:
        The metrics by name, as in `trainer.callback_metrics`, and what the run was made of.
    """
    # Imported here, since torch takes seconds and a command-line mistake should not wait for it.
    from src.runtime.checkpoint_config import config_from_checkpoint
    from src.runtime.run import open_run

    cfg = config_from_checkpoint(cfg)
    with open_run(cfg) as run:
        objects = run.build_objects()
        trainer, model, datamodule = objects["trainer"], objects["model"], objects["datamodule"]
        trainer.test(model, datamodule, ckpt_path=cfg.ckpt_path, verbose=False)
        run.collect_results(trainer)
    return run.metrics, objects


@hydra_command("eval", prepare=resolve_checkpoint_argument)
def main(cfg: DictConfig) -> None:
    """Evaluate."""
    evaluate(cfg)


if __name__ == "__main__":
    main()
