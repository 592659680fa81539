"""Export the model of a checkpoint, and compare what it says with what the original says.

python src/export.py ckpt_path=PATH format=onnx           # needs: uv sync --extra export
python src/export.py ckpt_path=PATH format=torch_export   # a .pt2 file, for torch.export.load
python src/export.py ckpt_path=PATH format=mlflow         # a folder, for `mlflow models serve`

The batch may be of any size. Exits with 1 if an output differs by more than `tolerance`.
"""

import sys
from pathlib import Path

if not __package__:  # run as a script: `src` itself lies one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import hydra
from omegaconf import DictConfig

from src.runtime import cli, hydra_versions
from src.runtime.checkpoint import checkpoint_config
from src.runtime.config.extras import check_export_installed
from src.runtime.identity import CONFIGS


def export(cfg: DictConfig) -> Path:
    """Export to `cfg.output`, and return its path.

    Raises:
        ValueError: if the format is unknown, or not installed, or the exported model differs.
    """
    check_export_installed(cfg.format)

    from src.runtime import runs
    from src.runtime.checkpoint import checkpoints
    from src.runtime.instantiate import instantiate
    from src.runtime.verb import model_formats

    cfg = checkpoint_config.completed(cfg)
    with runs.recorded(cfg):
        model = instantiate(cfg.model)
        model.load_state_dict(checkpoints.load(cfg.ckpt_path)["state_dict"])
        model.eval()
        inputs = model_formats.example(instantiate(cfg.data))
        suffix, write = model_formats.FORMATS[cfg.format]
        output = Path(cfg.output or Path(cfg.paths.output_dir, f"model{suffix}"))
        output.parent.mkdir(parents=True, exist_ok=True)
        exported = write(model, inputs, output)
        print(output)
        for size, difference in model_formats.differences(model, exported, inputs).items():
            print(f"batch of {size}: largest difference from the original {difference:.2g}")
            if not difference <= cfg.tolerance:  # NaN is a difference
                raise ValueError(
                    f"{output} differs from the original by {difference:.2g}, more than "
                    f"tolerance={cfg.tolerance}: do not use it"
                )
    return output


@hydra.main(config_path=CONFIGS, config_name="export", **hydra_versions.MAIN)
@cli.task
def main(cfg: DictConfig) -> None:
    """Export, and say how to use what was written."""
    output = export(cfg)
    if cfg.format == "mlflow":
        print(f"serve it: mlflow models serve --env-manager local --port 5001 --model-uri {output}")


if __name__ == "__main__":
    cli.run(main, "export", checkpoint_config.arguments)
