"""Train a model, then test its best checkpoint.

python src/train.py                                      # MNIST, on what this machine has
python src/train.py experiment=mon_experience            # one file = one experiment
python src/train.py trainer.accelerator=cpu trainer.max_epochs=1
python src/train.py common/logger@logger=tensorboard     # or csv, mlflow, wandb, many_loggers, none
python src/train.py model/net=cnn model/optimizer=sgd    # the parts of a model
python src/train.py common/callbacks@callbacks=none
python src/train.py common/debug=limit experiment=mon_experience
python src/train.py -m model.optimizer.lr=0.001,0.01     # a sweep
python src/train.py -m model.optimizer.lr=0.1,0.01 sweep_name=lr_grid   # goes on if run again
python src/train.py ckpt_path=last                       # go on with the newest unfinished run
python src/train.py init_from=PATH                       # new run, from the weights of another
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a script: `src` itself lies one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import hydra
from omegaconf import DictConfig

from src.runtime import cli, hydra_versions
from src.runtime.checkpoint import resume
from src.runtime.identity import CONFIGS
from src.runtime.process import ranks

if TYPE_CHECKING:  # heavy: what training needs is imported when training starts
    from torch import Tensor

    from src.runtime.build import Objects


def train(cfg: DictConfig) -> tuple[dict[str, "Tensor"], "Objects"]:
    """Fit the model (`cfg.train`), then test the best checkpoint (`cfg.test`).

    Returns:
        The metrics by name, as in `trainer.callback_metrics`, and what the run was made of.
    """
    from src.runtime import runs
    from src.runtime.build import build
    from src.runtime.checkpoint import checkpoint_paths, checkpoints

    with runs.recorded(cfg) as run:
        objects = run.objects = build(cfg)
        trainer, model, datamodule = objects["trainer"], objects["model"], objects["datamodule"]
        begun = ranks.restarted_in(cfg.paths.output_dir)
        ckpt_path = resume.checkpoint(cfg.ckpt_path or begun, cfg.paths.log_dir)
        if cfg.init_from and not ckpt_path:
            checkpoints.load_weights(model, checkpoint_paths.find(cfg.init_from, cfg.paths.log_dir))
        if cfg.train:
            trainer.fit(model, datamodule, ckpt_path=ckpt_path)
            run.metrics |= trainer.callback_metrics
            ckpt_path = runs.best_checkpoint(trainer)
        if cfg.test:
            trainer.test(model, datamodule, ckpt_path, verbose=False)  # the results come last
            run.metrics |= trainer.callback_metrics
    return run.metrics, objects


@hydra.main(config_path=CONFIGS, config_name="train", **hydra_versions.MAIN)
@cli.task
def main(cfg: DictConfig) -> float | tuple[float, ...] | None:
    """Train, and return the metric that a sweep optimizes."""
    metrics, _ = train(cfg)
    return cli.optimized_metric(cfg, metrics)


if __name__ == "__main__":
    cli.run(main, "train", resume.arguments)
