"""Open MLflow's page: of the server of `MLFLOW_TRACKING_URI`, or of the project's own database.

python src/ui.py                       # or: make ui
python src/ui.py --port 5001           # what follows is for `mlflow ui`
"""

import os
import subprocess
import sys
import webbrowser
from importlib.util import find_spec
from pathlib import Path

if not __package__:  # run as a script: `src` itself lies one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from dotenv import load_dotenv

from src.runtime.identity import PROJECT_ROOT
from src.runtime.tracker.mlflow_delivery import without_password

DATABASE = PROJECT_ROOT / "logs" / "mlflow" / "mlflow.db"


def main() -> None:
    """Open a server's page in the browser; serve the page of a database until Ctrl-C."""
    load_dotenv(PROJECT_ROOT / ".env")
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri and uri.startswith("http"):
        print(f"MLflow's page: {without_password(uri)}", flush=True)
        webbrowser.open(uri)
        return
    if find_spec("mlflow") is None:
        sys.exit("Error: MLflow is not installed: uv sync --extra mlflow")
    if not uri and not DATABASE.exists():
        sys.exit("Error: no run has been logged to MLflow yet: python src/train.py")
    store = uri or f"sqlite:///{DATABASE}"
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store]
    try:
        sys.exit(subprocess.run([*command, *sys.argv[1:]]).returncode)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
