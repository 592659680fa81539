"""Compare runs: what was varied, with which result, and the command that does it again.

python src/report.py                      # the single runs of src/train.py
python src/report.py sweep=lr_grid        # the jobs of a sweep
python src/report.py sweep=lr_grid metric=test/acc top=20

Runs that differ in nothing but their seed share a row: mean and standard deviation. Writes
`report.csv` (the rows), `runs.csv` (each run, each metric) and `report.png`; imports no torch.
"""

import sys
from pathlib import Path

if not __package__:  # run as a script: `src` itself lies one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import hydra
from omegaconf import DictConfig

from src.runtime import cli, console, hydra_versions
from src.runtime.identity import CONFIGS
from src.runtime.sweep import report, results


@hydra.main(config_path=CONFIGS, config_name="report", **hydra_versions.MAIN)
@cli.task
def main(cfg: DictConfig) -> None:
    """Read, print, write."""
    task_dir = Path(cfg.paths.log_dir, cfg.task)
    folder = task_dir / "multiruns" / cfg.sweep if cfg.sweep else task_dir / "runs"
    runs = list(results.read_all(folder)) if folder.is_dir() else []
    if not runs:
        others = sorted(p.name for p in task_dir.glob("multiruns/*") if p.is_dir())
        hint = f"There is sweep={others[-1]}" if others else "Make one: python src/train.py"
        raise ValueError(f"{folder} holds no runs. {hint}")
    metric, mode = report.criterion(runs, cfg.metric, cfg.mode)
    groups = results.grouped(runs, metric, mode)
    keys = results.varied(runs)
    rows = report.rows(groups, keys, metric, mode)
    console.print_table([{k: v for k, v in row.items() if k not in report.LONG} for row in rows])
    for row in rows[: cfg.top]:
        print(f"\n#{row['#']}  {row['command']}")
        if row["best checkpoint"]:
            print(f"    {row['best checkpoint']}")
    output = Path(cfg.paths.output_dir)
    report.write_csv(output / "report.csv", report.figures(groups, keys, metric, mode))
    report.write_csv(output / "runs.csv", report.each(runs, keys))
    print(f"\n{output / 'report.csv'}\n{output / 'runs.csv'}", flush=True)
    if report.draw(output / "report.png", groups, keys, metric):
        print(output / "report.png")


if __name__ == "__main__":
    cli.run(main, "report")
