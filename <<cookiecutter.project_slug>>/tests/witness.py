"""`src/train.py` with a witness: each process writes down what it trained with and tested on.

python tests/witness.py +callbacks.witness._target_=tests.witness.Witness OVERRIDES
"""

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from lightning.pytorch import Callback, LightningModule, Trainer  # noqa: E402
from omegaconf import DictConfig  # noqa: E402

from src.runtime import cli  # noqa: E402


class Witness(Callback):
    """Write `rank_N.json` into the folder of the run."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {"test": []}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the learning rate, the threads, and the images of validation."""
        import torch

        validation = trainer.datamodule.data_val  # ty: ignore[missing-attribute]
        self.seen["lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        self.seen["threads"] = torch.get_num_threads()
        self.seen["split"] = validation.images.double().sum().item()
        self.seen["step"] = trainer.global_step

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note the sum of each image, by which to know it."""
        self.seen["test"] += batch[0].double().flatten(1).sum(1).tolist()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write."""
        folder = Path(trainer.default_root_dir)
        (folder / f"rank_{trainer.global_rank}.json").write_text(json.dumps(self.seen))


def allowing(task: Callable[..., Any]) -> Callable[..., Any]:
    """Return `cli.task` for jobs that may be witnessed, in whatever process a launcher starts."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        checked = task(function)

        @functools.wraps(checked)
        def job(cfg: DictConfig) -> Any:
            from src.runtime import hydra_versions, instantiate

            instantiate.ALLOWED = (*instantiate.ALLOWED, "tests.*")  # ty: ignore[invalid-assignment]
            if not hydra_versions.IS_1_3:
                hydra_versions.INSTANTIATE["_execution_whitelist_"] = instantiate.ALLOWED
            return checked(cfg)

        return job

    return decorate


if __name__ == "__main__":
    cli.task = allowing(cli.task)  # ty: ignore[invalid-assignment]
    script = ROOT / "src" / "train.py"
    names = {"__name__": "__main__", "__file__": str(script), "__package__": None}
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    exec(compile(script.read_text(encoding="utf-8"), script, "exec"), names)
