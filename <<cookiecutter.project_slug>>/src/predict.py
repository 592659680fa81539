"""Predict the classes of images with a checkpoint.

python src/predict.py ckpt_path=PATH input=FOLDER_OR_FILE
python src/predict.py ckpt_path=PATH input=photos output=preds.parquet     # or .csv
python src/predict.py ckpt_path=PATH input=photos data.batch_size=512 trainer.accelerator=gpu

The images are loaded and normalised as the checkpoint's datamodule does it. A row for each: its
class and the probability of each class. A contact sheet shows the first of them.
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
from src.runtime.verb import prediction_files

if TYPE_CHECKING:
    from torch import Tensor


def predict(cfg: DictConfig) -> tuple[list[Path], "Tensor"]:
    """Predict the images of `cfg.input`, and write `cfg.output` and the contact sheet beside it.

    Returns:
        The N images, and the probabilities of their classes, `(N, K)`; a row of an image that
        cannot be read is NaN.
    """
    output = prediction_files.checked(Path(cfg.output))
    paths = prediction_files.images(Path(cfg.input))

    from src.runtime import runs
    from src.runtime.build import build
    from src.runtime.verb import predictions

    cfg = checkpoint_config.completed(cfg)
    with runs.recorded(cfg) as run:
        objects = run.objects = build(cfg)
        trainer, model, datamodule = objects["trainer"], objects["model"], objects["datamodule"]
        loader = predictions.dataloader(datamodule, paths, cfg.ckpt_path)
        outputs = trainer.predict(model, loader, ckpt_path=cfg.ckpt_path)
        probabilities = predictions.probabilities(model, outputs)
        names = predictions.class_names(datamodule, probabilities.shape[1])
        rows = prediction_files.rows(paths, probabilities.tolist(), names)
        prediction_files.write(output, rows)
        if cfg.sheet_images > 0:
            sheet = output.with_suffix(".png")
            prediction_files.contact_sheet(rows[: cfg.sheet_images]).save(sheet)
            print(sheet)
    print(output)
    return paths, probabilities


@hydra.main(config_path=CONFIGS, config_name="predict", **hydra_versions.MAIN)
@cli.task
def main(cfg: DictConfig) -> None:
    """Predict, and exit with 1 if an image could not be read."""
    paths, probabilities = predict(cfg)
    unread = [path for path, lost in zip(paths, probabilities.isnan().any(1), strict=True) if lost]
    if unread:
        raise ValueError(
            f"{len(unread)} of {len(paths)} images cannot be read, such as {unread[0]}: "
            "their rows have no prediction, the others do"
        )


if __name__ == "__main__":
    cli.run(main, "predict", checkpoint_config.arguments)
