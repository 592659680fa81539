"""`src/report.py`: what differs, replicates, 80 columns, files for programs, ten thousand runs."""

import csv
import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import PROJECT, Command

from src.runtime import report
from src.runtime.run_folder import run_dirs_and_records_below


def write_run(folder: Path, overrides: list[str], **record: Any) -> None:
    """Write a folder as a run leaves it, an hour ago."""
    folder.mkdir(parents=True)
    started = (datetime.now().astimezone() - timedelta(hours=1, minutes=5)).isoformat()
    base = {"status": "finished", "started": started, "overrides": overrides, "error": None}
    base |= {"monitor": "val/acc", "mode": "max", "metrics": {}}
    (folder / "run.json").write_text(json.dumps(base | record))


def write_sweep(folder: Path) -> None:
    """Write two learning rates with three seeds each; one run has failed."""
    for number in range(6):
        rate, seed = (0.1, 0.01)[number // 3], number % 3
        overrides = [f"model.optimizer.lr={rate}", f"seed={seed}", "tags=[a b]", "sweep_name=lr"]
        failed = {"status": "failed", "error": "ValueError: [/b] is no tag"}
        value = {"metrics": {"val/acc": 0.5 + seed / 10 + number // 3 / 5, "test/loss": 1.0 - rate}}
        write_run(folder / str(number), overrides, **(failed if number == 2 else value))
        curve = [
            json.dumps({"time": 0, "step": step, "metrics": {"val/acc": step / 10}})
            for step in range(3)
        ]
        (folder / str(number) / "metrics.jsonl").write_text("\n".join(curve) + '\n{"step": 3, "met')


def table(
    folder: Path, capsys: pytest.CaptureFixture[str], metric: str | None = None
) -> list[list[str]]:
    """Return the words of each printed line."""
    runs = report.run_results(run_dirs_and_records_below(folder))
    report.print_runs(runs, *report.metric_and_mode(runs, metric, None), None)
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_runs_that_differ_in_their_seed_share_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path)
    lines = table(tmp_path, capsys)
    header = lines.index(["run", "what", "differs", "val/acc", "status"])
    best = ["3", "runs", "model.optimizer.lr=0.01", "0.8", "±", "0.1", "finished"]
    assert lines[header + 2] == best
    worse = ["3", "runs", "model.optimizer.lr=0.1", "0.55", "±", "0.071"]
    assert lines[header + 3][:6] == worse
    statuses = [word for line in lines[header + 3 : header + 6] for word in line]
    assert {"finished", "failed"} <= set(statuses)
    assert "age" not in lines[header]  # the same in all rows
    assert ["2", "failed:", "ValueError:", "[/b]", "is", "no", "tag"] in lines
    assert lines[-1] == ["Best:", str(tmp_path / "5")]  # of the best group


def test_a_loss_is_better_when_it_is_smaller(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path)
    lines = table(tmp_path, capsys, "test/loss")
    assert [line[2] for line in lines if line[1:2] == ["runs"]] == [
        "model.optimizer.lr=0.1",
        "model.optimizer.lr=0.01",
    ]


def test_the_best_value_of_the_monitored_metric_counts(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [], metrics={"val/acc": 0.6}, best_value=0.7)
    (run,) = report.run_results(run_dirs_and_records_below(tmp_path))
    assert run.row["val/acc"] == run.metrics["val/acc"] == 0.7


def test_what_is_the_same_everywhere_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        value = {"metrics": {"val/acc": 0.5 + number}}
        write_run(tmp_path / str(number), ["a.b=1", f"c.d={number}", "hydra.x=1"], **value)
    lines = table(tmp_path, capsys)
    assert lines[1] == ["run", "what", "differs", "val/acc"]
    assert lines[3:5] == [["1", "c.d=1", "1.5"], ["0", "c.d=0", "0.5"]]
    assert lines[-1] == ["Best:", str(tmp_path / "1")]


def test_the_age_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ages = {timedelta(days=3, hours=4): "3 d", timedelta(minutes=7, seconds=1): "7 min"}
    for number, age in enumerate(ages):
        started = (datetime.now().astimezone() - age).isoformat()
        write_run(tmp_path / str(number), [f"seed={number}", f"lr={number}"], started=started)
    (tmp_path / "2").mkdir()
    (tmp_path / "2/job.json").write_text('{"overrides": ["lr=2"]}')
    printed = "\n".join(" ".join(line) for line in table(tmp_path, capsys))
    for age in ages.values():
        assert f"finished {age}\n" in printed
    assert "lr=2 not started\n" in printed


def test_long_overrides_are_shortened_in_the_middle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        path = f"data.path=/home/somebody/projects/flats/cleaned_{number}.csv"
        write_run(tmp_path / str(number), [path, f"common/logger@logger={('csv', 'none')[number]}"])
    printed = "\n".join(" ".join(line) for line in table(tmp_path, capsys))
    assert "data.path=/home…s/cleaned_0.csv logger=csv" in printed
    assert "data.path=/home…s/cleaned_1.csv logger=none" in printed


def test_a_table_fits_its_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        overrides = [f"model.some_long_name.other{i}=value{number}{i}" for i in range(9)]
        name = f"2026-11-26_12-00-0{number % 10}_abcdef{number:02}"
        status = ("finished", "killed")[number % 2]
        write_run(tmp_path / name, overrides, status=status, metrics={"val/acc": number / 7})
    for width in (80, 60, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        runs = report.run_results(run_dirs_and_records_below(tmp_path))
        report.print_runs(runs, "val/acc", "max", top=5)
        table_lines = capsys.readouterr().out.splitlines()
        assert max(len(line) for line in table_lines if not line.startswith("Best")) <= width
        header = " ".join(table_lines[1:3]).split()  # a title may take two lines
        assert {"run", "what", "differs", "val/acc", "status"} <= set(header)
        assert any(line.startswith(f" {name[:19]} ") for line in table_lines)  # without its hash
        assert any("1.5714" in line for line in table_lines)
        assert "7 more: a larger top=, or csv=runs.csv" in table_lines


def test_the_command(command: Command, tmp_path: Path) -> None:
    write_sweep(tmp_path / "logs/train/multiruns/lr")
    answer = command("sweep=lr", "top=1", f"csv={tmp_path}/runs.csv", verb="report")
    assert answer.code == 0, answer.err
    assert "0.8 ± 0.1" in answer.out
    assert "0.55" not in answer.out
    (picture,) = tmp_path.glob("logs/report/runs/*/report.png")
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert f"Curves: {picture}" in answer.out
    rows = list(csv.DictReader((tmp_path / "runs.csv").open()))
    assert [row["status"] for row in rows].count("finished") == 5
    assert rows[4]["model.optimizer.lr"] == "0.01"
    assert float(rows[4]["val/acc"]) == pytest.approx(0.8)


def test_json_is_for_programs(command: Command, tmp_path: Path) -> None:
    nan = {"metrics": {"val/acc": float("nan"), "val/loss": 0.5}}
    write_run(tmp_path / "logs/train/runs/a", ["seed=1"], **nan)
    answer = command("json=true", verb="report")
    (row,) = json.loads(answer.out)
    assert row["run"] == str(tmp_path / "logs/train/runs/a")
    assert (row["seed"], row["val/loss"]) == ("1", 0.5)
    assert "val/acc" not in row


def test_what_is_not_there_is_said(command: Command, tmp_path: Path) -> None:
    answer = command(verb="report")
    assert answer.code == 1
    assert "there are no runs in" in answer.err
    write_sweep(tmp_path / "logs/train/multiruns/lr")
    assert "Choose a sweep: sweep=lr" in command("sweep=rl", verb="report").err
    answer = command("sweep=lr", "metric=val/f1", verb="report")
    assert "metric=val/f1: no run has it. There is: test/loss, val/acc" in answer.err


MEASURE = """
import re, sys, time
from pathlib import Path
sys.argv = ["src/report.py", *sys.argv[1:]]
from src import report
report.main()
seconds = time.process_time()  # whatever else this machine does
status = Path("/proc/self/status").read_text()
megabytes = int(re.search("VmHWM: *\\t? *(\\d+) kB", status)[1]) / 1024
print("MEASURED", seconds, megabytes, {"torch", "lightning"} & set(sys.modules))
"""


def test_ten_thousand_runs_take_seconds_and_little_memory(tmp_path: Path) -> None:
    metrics = {
        f"{phase}/{name}": 0.5 for phase in ("train", "val") for name in ("acc", "loss", "f1")
    }
    environment = {f"package_{number}": "1.2.3" for number in range(30)}
    for number in range(10_000):
        overrides = [f"model.optimizer.lr={number / 1e6}", f"data.batch_size={number % 7}"]
        folder = tmp_path / f"train/runs/2026-11-26_12-00-00_{number:08x}"
        value = {"metrics": metrics | {"val/acc": number / 1e4}, "environment": environment}
        write_run(folder, overrides, **value)
        (folder / "checkpoints").mkdir()
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, f"paths.log_dir={tmp_path}"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "9980 more" in result.stdout
    _, seconds, megabytes, imported = result.stdout.splitlines()[-1].split()
    assert imported == "set()"
    assert float(seconds) < 10
    assert float(megabytes) < 300


def test_what_a_run_without_results_says_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "1", ["a=1", "b=1"], metrics={"val/acc": 0.5, "val/loss": 1.0})
    write_run(tmp_path / "2", ["a=1", "b=2"], metrics={"val/acc": 0.4, "val/loss": 0.1})
    write_run(tmp_path / "3", ["c=1"], status="failed", error="ValueError: c", monitor=None)
    (tmp_path / "4").mkdir()
    (tmp_path / "4/job.json").write_text('{"overrides": ["d=1"]}')
    lines = table(tmp_path, capsys)
    assert lines[3][:3] == ["1", "b=1", "0.5"]  # by val/acc, which was monitored last
    assert lines[-1] == ["Best:", str(tmp_path / "1")]


def test_a_dollar_is_no_formula(tmp_path: Path) -> None:
    for number in range(2):
        write_run(tmp_path / str(number), [f"a=${{oc.env:A,${{b}}}}{number}", "x=_$y$"])
    runs = report.run_results(run_dirs_and_records_below(tmp_path))
    report.plot_curves(tmp_path / "x.png", runs, "val/acc")
    assert (tmp_path / "x.png").exists()
