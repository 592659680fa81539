"""Train a model, then test its best checkpoint.

python src/train.py                                      # the defaults, on a GPU if there is one
python src/train.py experiment=mon_experience            # one file = one experiment
python src/train.py trainer.accelerator=cpu trainer.max_epochs=1
python src/train.py logger=tensorboard                   # mlflow, csv, wandb, many_loggers, none
python src/train.py model/optimizer=sgd                  # another part of the model
python src/train.py callbacks=none
python src/train.py debug=limit experiment=mon_experience
python src/train.py -m model.optimizer.lr=0.001,0.01     # a sweep
python src/train.py -m seed=0,1,2 sweep_name=seeds       # a named sweep; repeat it to continue
python src/train.py ckpt_path=last                       # continue the newest unfinished run
python src/train.py init_from=PATH                       # a new run, from the weights of another
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script: `src` itself lies one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from omegaconf import DictConfig

from src.runtime import distributed
from src.runtime.command_line import hydra_command
from src.runtime.overrides import overrides_to_resume
from src.runtime.sweeps import optimized_value

if TYPE_CHECKING:
    from src.runtime.build import Objects


def train(cfg: DictConfig) -> tuple[dict[str, Any], "Objects"]:
    """Fit the model (`cfg.train`), then test its best checkpoint (`cfg.test`).

    Returns:
        The metrics by name, as in `trainer.callback_metrics`, and what the run was made of.
    """
    # Imported here, since torch takes seconds and a command-line mistake should not wait for it.
    from src.runtime.checkpoints import load_initial_weights
    from src.runtime.describe import best_model_checkpoint
    from src.runtime.run import open_run

    with open_run(cfg) as run:
        objects = run.build_objects()
        trainer, model, datamodule = objects["trainer"], objects["model"], objects["datamodule"]
        ckpt_path = run.ckpt_path
        if cfg.init_from and not ckpt_path:
            load_initial_weights(model, run.cfg.init_from)
        if cfg.train:
            trainer.fit(model, datamodule, ckpt_path=ckpt_path)
            run.collect_results(trainer)
            best = best_model_checkpoint(trainer)
            ckpt_path = best.best_model_path if best else None  # None: the weights in memory
        if cfg.test and run.can_test():
            trainer.test(model, datamodule, ckpt_path=ckpt_path, verbose=False)
            run.collect_results(trainer)
    return run.metrics, objects


@hydra_command("train", prepare=overrides_to_resume)
def main(cfg: DictConfig) -> float | tuple[float, ...] | None:
    """Train, and return the metric that a sweep optimizes."""
    if distributed.needs_subprocess(cfg):
        return optimized_value(cfg, distributed.run_job_in_subprocess(cfg))
    metrics, _ = train(cfg)
    return optimized_value(cfg, metrics)


if __name__ == "__main__":
    main()
