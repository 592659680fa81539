"""Take the pictures of `docs/first-run.md`: a training and a sweep in a terminal, MLflow's page.

python docs/screenshots.py PROJECT     # a bake with starting_point=images

`make screenshots` does all of it. Needs tmux and Chromium.
"""

import base64
import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "machinery"))
from browser import Page, browser  # noqa: E402

PICTURES = HERE / "images"
TMUX = ("tmux", "-L", "screenshots")
COLUMNS = 140
TRAIN = "python src/train.py experiment=mon_experience"
SWEEP = f"{TRAIN} -m model.optimizer.lr=0.003,0.01,0.03 sweep_name=lr logger=csv"
HTML = """<body style="margin:0; background:{background}">
<pre style="font:14px/1.3 DejaVu Sans Mono; padding:12px; margin:0; display:inline-block;
color:{foreground}">{code}</pre>"""
OF_PRE = "document.querySelector('pre').getBoundingClientRect()"


def run_in_terminal(command: str, project: Path) -> str:
    """Run a command in a terminal, and return what is on the screen at its end, with colours."""
    signal = shlex.join([*TMUX, "wait-for", "-S", "end"])
    script = f"printf '$ %s\\n' {shlex.quote(command)}; {command}; {signal}; sleep 60"
    path = f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}"
    pane = ("-c", project, "-x", str(COLUMNS), "-y", "60", "env", path, "sh", "-c", script)
    subprocess.run([*TMUX, "new-session", "-d", *pane], check=True)
    subprocess.run([*TMUX, "wait-for", "end"], check=True)
    time.sleep(1)
    capture = [*TMUX, "capture-pane", "-p", "-e"]
    shown = subprocess.run(capture, check=True, capture_output=True, text=True).stdout
    subprocess.run([*TMUX, "kill-server"], check=True)
    return shown.rstrip()


def save_terminal(page: Page, shown: str, name: str) -> None:
    """Save the text of a terminal as a picture."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(shown))
    html = console.export_html(theme=DIMMED_MONOKAI, code_format=HTML, inline_styles=True)
    page.open(f"data:text/html;charset=utf-8;base64,{base64.b64encode(html.encode()).decode()}")
    page.wait_for("document.querySelector('pre')")
    width, height = (int(page.value(f"{OF_PRE}.{side}")) + 1 for side in ("width", "height"))
    save(page, name, width, height)


def save(page: Page, name: str, width: int, height: int) -> None:
    """Save what the page shows in a window of this size."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    page.command("Emulation.setDeviceMetricsOverride", **size)
    time.sleep(3)
    picture = page.command("Page.captureScreenshot")["data"]
    (PICTURES / name).write_bytes(base64.b64decode(picture))


def save_mlflow(page: Page, run_dir: Path, project: Path) -> None:
    """Save MLflow's page of a run."""
    command = [sys.executable, "src/ui.py", str(run_dir), "--port", "0"]
    server = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        lines = iter(server.stdout.readline, "")
        address = next(line.split()[1] for line in lines if line.startswith("MLflow: "))
        page.open(address, 1300, 900)
        page.wait_for("document.querySelectorAll('.js-plotly-plot path.js-line').length >= 4")
        page.value("document.querySelector('[aria-label=\"Close\"]')?.click()")
        save(page, "mlflow.png", 1300, 900)
    finally:
        server.terminate()
        server.wait()


def main(project: Path) -> None:
    """Train, and save the pictures."""
    PICTURES.mkdir(exist_ok=True)
    shutil.rmtree(project / "logs", ignore_errors=True)
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as page:
        save_terminal(page, run_in_terminal(TRAIN, project), "training.png")
        (run_dir,) = (project / "logs/train/runs").iterdir()
        save_mlflow(page, run_dir, project)
        pictures = run_dir.glob("images/val_predictions_step_*.png")
        first = min(pictures, key=lambda path: (len(path.name), path.name))
        shutil.copy(first, PICTURES / "predictions.png")
        table = run_in_terminal(SWEEP, project).splitlines()[-8:]
        save_terminal(page, "\n".join([f"$ {SWEEP}", "...", *table]), "sweep.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
