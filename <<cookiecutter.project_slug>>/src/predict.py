"""Predict from files with a checkpoint: classes with their probabilities, or numbers.

python src/predict.py ckpt_path=PATH input=FILE_OR_FOLDER
python src/predict.py ckpt_path=best input=PATH output=predictions.parquet
python src/predict.py ckpt_path=PATH input=PATH batch_size=512 trainer.accelerator=gpu

The inputs are prepared as in training. An input that cannot be read gets a row without a
prediction, and the exit code is 1.
"""

import sys
from pathlib import Path

if not __package__:  # run as a script: `src` itself lies one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from omegaconf import DictConfig

from src.runtime.command_line import hydra_command
from src.runtime.overrides import resolve_checkpoint_argument
from src.runtime.project import ConfigError


def predict(cfg: DictConfig) -> tuple[Path, dict[str, str]]:
    """Predict `cfg.input` with the model of `cfg.ckpt_path`, and write the result to a file.

    Returns:
        The file, and the errors of inputs that could not be read, by name.
    """
    # Imported here, since torch takes seconds and a command-line mistake should not wait for it.
    from src.runtime.inference import predict_to_file

    return predict_to_file(cfg)


@hydra_command("predict", prepare=resolve_checkpoint_argument)
def main(cfg: DictConfig) -> None:
    """Predict, and fail if an input could not be read."""
    output, errors = predict(cfg)
    print(f"predictions: {output}")
    if errors:
        name, error = next(iter(errors.items()))
        raise ConfigError(f"Inputs that cannot be read: {len(errors)}, such as {name} ({error})")


if __name__ == "__main__":
    main()
