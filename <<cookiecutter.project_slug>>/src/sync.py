"""Upload to MLflow what runs have recorded while it could not be reached.

python src/sync.py                                  # every run below logs/
python src/sync.py logs/train/runs/ID               # one run, or all below a folder
python src/sync.py --to http://host:5000            # to another store than the run's own
"""

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path

if not __package__:  # run as a script: `src` itself lies one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from dotenv import load_dotenv
from filelock import FileLock, Timeout

from src.runtime.identity import PROJECT_ROOT
from src.runtime.tracker.mlflow_delivery import Delivery, without_password


def upload(folder: Path, to: str | None) -> tuple[str, bool]:
    """Upload one run; return a line for the user, and whether it is now in MLflow.

    Nothing arrives twice, however often this is called. Credentials come from the environment's
    `MLFLOW_TRACKING_URI` if that is where the run was meant to go.
    """
    delivery = Delivery(folder, to)
    if delivery.complete:
        return "", True
    try:
        with FileLock(folder / "lock", timeout=0):
            delivery.deliver()
            delivery.finish()
    except Timeout:
        return "is still being delivered by the run itself", True
    except Exception as error:  # whatever the store, its driver or the network says
        return without_password(f"not uploaded to {delivery.uri}: {error}"), False
    return f"uploaded to {without_password(delivery.uri)}", True


def main() -> None:
    """Upload, say what was uploaded, and exit with 1 if anything could not be."""
    parser = argparse.ArgumentParser(description="Upload to MLflow what could not be delivered.")
    parser.add_argument("path", nargs="?", type=Path, default=PROJECT_ROOT / "logs")
    parser.add_argument("--to", metavar="URI", help="another store than the run's own")
    arguments = parser.parse_args()
    load_dotenv(PROJECT_ROOT / ".env")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # here somebody waits anyway
    if not arguments.path.is_dir():
        sys.exit(f"Error: {arguments.path} is no folder: give a run directory, or one above.")
    if find_spec("mlflow") is None:
        sys.exit("Error: MLflow is not installed: uv sync --extra mlflow")
    outcomes = []
    for description in sorted(arguments.path.rglob("mlflow/run.json")):
        line, arrived = upload(description.parent, arguments.to)
        if line:
            outcomes.append(arrived)
            print(f"{description.parents[1]}: {line}", flush=True)
    if not outcomes:
        print("Nothing to upload: MLflow has every run.")
    sys.exit(0 if all(outcomes) else 1)


if __name__ == "__main__":
    main()
