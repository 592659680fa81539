"""Export the model of a checkpoint, and compare the result with the original on a real batch.

python src/export.py ckpt_path=PATH format=onnx           # needs: uv pip install -e '.[export]'
python src/export.py ckpt_path=PATH format=torch_export   # a .pt2 file, for torch.export.load
python src/export.py ckpt_path=PATH format=mlflow         # a folder, for `mlflow models serve`
python src/export.py ckpt_path=best format=onnx output=model.onnx

The exported model takes batches of any size. If its outputs differ from the original's by more than
`tolerance`, no file is written.
"""

import shlex
import sys
from pathlib import Path

if not __package__:  # run as a script: `src` itself lies one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from omegaconf import DictConfig

from src.runtime.command_line import hydra_command
from src.runtime.overrides import resolve_checkpoint_argument


def export(cfg: DictConfig) -> Path:
    """Export the model of `cfg.ckpt_path` as `cfg.format`, and return the path written."""
    # Imported here, since torch takes seconds and a command-line mistake should not wait for it.
    from src.runtime.inference import export_to_file

    return export_to_file(cfg)


@hydra_command("export", prepare=resolve_checkpoint_argument)
def main(cfg: DictConfig) -> None:
    """Export, and print how to use the result."""
    output = export(cfg)
    print(f"exported:    {output}")
    if cfg.format == "mlflow":
        serve = ("models", "serve", "--env-manager", "local", "--port", "5001", "--model-uri")
        print(f"serve it: {shlex.join(['mlflow', *serve, str(output)])}")


if __name__ == "__main__":
    main()
