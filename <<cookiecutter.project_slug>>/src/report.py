"""Compare runs: the overrides in which they differ, and their results.

python src/report.py                                 # the single runs of src/train.py
python src/report.py sweep=lr                        # the jobs of a sweep
python src/report.py sweep=lr metric=test/acc mode=max top=5
python src/report.py csv=runs.csv                    # each run with all that it recorded
python src/report.py json=true | jq

Runs that differ only in their seed or fold share a row with mean and standard deviation. The curves
of the runs in the table are drawn in `report.png`, in this command's own run folder.
"""

import json
import sys
from pathlib import Path

if not __package__:  # run as a script: `src` itself lies one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from omegaconf import DictConfig

from src.runtime import report
from src.runtime.command_line import hydra_command
from src.runtime.project import ConfigError
from src.runtime.run_folder import run_dirs_and_records_below


@hydra_command("report")
def main(cfg: DictConfig) -> None:
    """Read the run folders, and print or write what was asked for."""
    if cfg.top is not None and not (isinstance(cfg.top, int) and cfg.top > 0):
        raise ConfigError(f"top={cfg.top} is no number of rows. Type top=5, or top=null for all")
    task_dir = Path(cfg.paths.log_dir, cfg.task)
    folder = task_dir / "multiruns" / cfg.sweep if cfg.sweep else task_dir / "runs"
    runs = report.run_results(run_dirs_and_records_below(folder))
    if not runs:
        names = sorted(path.name for path in task_dir.glob("multiruns/*"))
        hint = f"Choose a sweep: sweep={'|'.join(names)}" if names else "Start with src/train.py"
        raise ConfigError(f"there are no runs in {folder}. {hint}")
    if cfg.json:
        print(json.dumps([run.row for run in runs], indent=1))
        return
    names = sorted({name for run in runs for name in run.metrics})
    if cfg.metric and cfg.metric not in names:
        raise ConfigError(f"metric={cfg.metric}: no run has it. There is: {', '.join(names)}")
    metric, mode = report.metric_and_mode(runs, cfg.metric, cfg.mode)
    report.print_runs(runs, metric, mode, cfg.top)
    if cfg.csv:
        report.write_csv(str(cfg.csv), [run.row for run in runs])
        print(f"Table: {cfg.csv}")
    picture = Path(cfg.paths.output_dir, "report.png")
    best = report.groups_best_first(runs, metric, mode)[: cfg.top]
    report.plot_curves(picture, [run for group in best for run in group], metric)
    print(f"Curves: {picture}")


if __name__ == "__main__":
    main()
