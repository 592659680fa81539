"""Upload to MLflow what it has not received from the runs below a folder.

python src/sync.py                              # all runs
python src/sync.py logs/train/runs/ID           # a run, a sweep, a task
python src/sync.py --to http://host:5000        # to this store, now and from now on

Nothing arrives twice, however often this is called. Exits with 1 if something was not sent.
"""

import argparse
import os
import sys
from pathlib import Path

if not __package__:  # run as a script: `src` itself lies one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from src.runtime import mlflow_upload
from src.runtime.command_line import compose
from src.runtime.mlflow_run import DESCRIPTION, STATE, RunUploader, is_fully_uploaded, storable_uri
from src.runtime.project import read_json, write_json
from src.runtime.run_folder import Claim, RunIsActive


def main() -> None:
    """Send each run that is not complete, and print a line about it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", nargs="?", help="folder of a run, or one above")
    parser.add_argument("--to", metavar="URI", help="another store than the one of the run")
    arguments = parser.parse_args()
    path = Path(arguments.path or compose("train").paths.log_dir).resolve()
    run_dirs = mlflow_upload.mlflow_run_dirs(path)
    if not run_dirs:
        sys.exit(f"Error: nothing below {path} was logged to MLflow")
    os.environ.update(mlflow_upload.ENVIRONMENT | os.environ)
    if arguments.to:
        os.environ["MLFLOW_TRACKING_URI"] = arguments.to
        for run_dir in run_dirs:
            about = read_json(run_dir / DESCRIPTION) | {"tracking_uri": storable_uri(arguments.to)}
            write_json(run_dir / DESCRIPTION, about)
    pending = [run_dir for run_dir in run_dirs if not is_fully_uploaded(run_dir)]
    try:
        claim = Claim.acquire(mlflow_upload.log_dir_of(run_dirs[0]), mlflow_upload.CLAIM)
    except RunIsActive:  # the background uploader is at work
        print(mlflow_upload.upload_status_after_waiting(path, patience=60))
    else:
        for run_dir in pending:
            RunUploader(run_dir).upload_new_data()
            print(f"{run_dir}: {mlflow_upload.upload_status_text(run_dir)}", flush=True)
        claim.release()
    if not pending:
        print(mlflow_upload.upload_status_text(path))
    sys.exit(1 if any(read_json(run_dir / STATE).get("error") for run_dir in pending) else 0)


if __name__ == "__main__":
    main()
