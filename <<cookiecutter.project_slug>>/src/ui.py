"""Open MLflow's page: on its server, or served here from the local database.

python src/ui.py                       # all runs
python src/ui.py logs/train/runs/ID    # one run, in the view for model training
python src/ui.py --port 5001

Serves until Ctrl-C. In production, use `mlflow server`.
"""

import argparse
import socket
import sys
import warnings
import webbrowser
from contextlib import suppress
from pathlib import Path

if not __package__:  # run as a script: `src` itself lies one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from src.runtime.command_line import compose
from src.runtime.mlflow_run import DESCRIPTION, with_credentials
from src.runtime.mlflow_upload import run_page_url
from src.runtime.project import read_json

EXPERIMENTS = "/#/experiments?workflowType=machine_learning"


def main() -> None:
    """Print the address of the page, and serve it if no server does."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", nargs="?", default="", help="folder of a run")
    parser.add_argument("--port", type=int, default=5000)
    arguments = parser.parse_args()
    if arguments.run:
        store = read_json(Path(arguments.run, DESCRIPTION)).get("tracking_uri")
        if store is None:
            sys.exit(f"Error: {arguments.run} is not the folder of a run in MLflow")
    else:
        store = compose("train", "logger=mlflow").logger.mlflow.tracking_uri
    if store.startswith("http"):
        address = run_page_url(arguments.run) or store + EXPERIMENTS
        print(f"MLflow: {address}", flush=True)
        webbrowser.open(address)
        return
    database = store.removeprefix("sqlite:///")
    if store.startswith("sqlite") and not Path(database).exists():
        sys.exit("Error: no run was logged to MLflow yet: python src/train.py")
    with suppress(KeyboardInterrupt):
        serve(with_credentials(store), arguments.run, arguments.port)


def serve(store: str, run: str, port: int) -> None:
    """Serve the page of a database until Ctrl-C or SIGTERM."""
    warnings.simplefilter("ignore")  # of MLflow's own imports
    print("MLflow starts, which takes a few seconds ...", flush=True)
    import uvicorn  # first: MLflow then knows that it is a server
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(store, store)
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError:  # the port is taken
        listening = socket.create_server(("127.0.0.1", 0))
    server = f"http://127.0.0.1:{listening.getsockname()[1]}"
    address = run_page_url(run, server) or server + EXPERIMENTS
    print(f"MLflow: {address}    (Ctrl-C ends it)", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
