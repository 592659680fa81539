"""Campaigns that take minutes: damaged and hostile checkpoints, 200 epochs, 10,000 run folders.

Their figures are printed (`pytest -s`); `benchmarks/results/campaigns.md` records them.
"""

import copy
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from conftest import Command
from processes import PROJECT, QUICK, record, run_folders

from src.runtime.mlflow_upload import CLAIM
from src.runtime.project import read_json

TARGETS = [
    "os.system",
    "subprocess.Popen",
    "builtins.exec",
    "torch.load",
    "torch.hub.load",
    "torch.save",
    "torch.nn.Module.load_state_dict",
    "torchvision.io.write_file",
    "lightning.pytorch.callbacks.ModelCheckpoint.to_yaml",
    "lightning.pytorch.plugins.io.TorchCheckpointIO.load_checkpoint",
    "src.models.lit_module.LitModule.load_from_checkpoint",
    "src.runtime.project.write_json",
    "hydra.utils.instantiate",
    "functools.partial",
    "torch.nn.modules.module.torch.load",
]


SMALL_RUN = ("data=digits", "callbacks=model_checkpoint", "logger=none", "trainer=cpu")


class Evil:
    """Runs a command where a pickle is trusted."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch evil_was_here",)


def with_evil_at(checkpoint: dict[str, Any], *keys: Any) -> dict[str, Any]:
    """Return a copy of a checkpoint with an object that runs code at a place."""
    changed = copy.deepcopy(checkpoint)
    node = changed
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = Evil()
    return changed


def hostile_files(checkpoint: dict[str, Any], whole: bytes, folder: Path) -> list[Path]:
    """Write fifty checkpoints that are cut off, changed, pickled with code, or call too much."""
    rng = random.Random(0)
    contents: list[Any] = [whole[: len(whole) * cut // 14] for cut in range(14)]
    for _ in range(14):
        changed = bytearray(whole)
        for _ in range(20):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        contents.append(bytes(changed))
    places = [("state_dict",), ("run_config",), ("epoch",), ("hyper_parameters",), ("new",)]
    places += [("run_config", "model"), ("run_config", "data")]
    contents += [with_evil_at(checkpoint, *keys) for keys in places]
    for number, target in enumerate(TARGETS):
        changed = copy.deepcopy(checkpoint)
        node = {"_target_": target, "f": "evil_was_here", "command": "touch evil_was_here"}
        part = ("model", "data")[number % 2]
        changed["run_config"][part] = (
            node if number % 3 else {**checkpoint["run_config"][part], "x": [node]}
        )
        contents.append(changed)
    paths = []
    for number, content in enumerate(contents):
        path = folder / f"{number}.ckpt"
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        paths.append(path)
    return paths


@pytest.mark.slow
def test_fifty_damaged_and_hostile_checkpoints(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("+trainer.limit_train_batches=2", "+trainer.limit_val_batches=1", "test=false")
    assert command(*SMALL_RUN, *few, "trainer.max_epochs=1").code == 0
    (folder,) = run_folders(tmp_path / "logs")
    whole = (folder / "checkpoints/last.ckpt").read_bytes()
    checkpoint = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    sent = tmp_path / "sent"
    sent.mkdir()
    paths = hostile_files(checkpoint, whole, sent)
    assert len(paths) == 50
    refused = 0
    monkeypatch.chdir(PROJECT)
    for number, path in enumerate(paths):
        verb = ("eval", "export", "train", "init_from")[number % 4]
        key = "init_from" if verb == "init_from" else "ckpt_path"
        extra = ("format=torch_export",) if verb == "export" else ("logger=none",)
        if verb in ("train", "init_from"):
            extra = (*SMALL_RUN, *few, "trainer.max_epochs=2")
        answer = command(f"{key}={path}", *extra, verb="train" if key == "init_from" else verb)
        assert "Traceback" not in answer.err, (path, answer.err)
        assert answer.code in (0, 1), (path, answer)
        refused += answer.code == 1
        assert not list(tmp_path.rglob("evil_was_here")), path
        assert not (PROJECT / "evil_was_here").exists(), path
    print(
        f"50 checkpoints: {refused} refused in a line, {50 - refused} used without their configuration"
    )


def memory_of(process: psutil.Process) -> int:
    """Return the resident bytes of a process."""
    return process.memory_info().rss


@pytest.mark.slow
def test_two_hundred_epochs_need_no_more_memory_at_their_end(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    typed = ("logger=mlflow", "trainer.max_epochs=200", "+trainer.limit_train_batches=10")
    process = subprocess.Popen(
        [sys.executable, "src/train.py", *QUICK, *typed, "test=false", f"paths.log_dir={logs}"],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"},
    )
    run, memory, uploader_memory = psutil.Process(process.pid), {}, {}
    while process.poll() is None:
        rows = epoch_times(logs)
        if rows:
            memory[len(rows)] = memory_of(run)
            claims = sorted(logs.glob(f"{CLAIM}.[0-9]*"))
            pid = read_json(claims[-1]).get("pid") if claims else None
            if pid and psutil.pid_exists(pid):
                uploader_memory[len(rows)] = memory_of(psutil.Process(pid))
        time.sleep(0.2)
    (folder,) = run_folders(logs)
    assert record(folder)["status"] == "finished"
    times = epoch_times(logs)
    assert len(times) == 200
    for name, found in (("run", memory), ("uploader", uploader_memory)):
        early = [value for epoch, value in found.items() if 20 <= epoch <= 60]
        late = [value for epoch, value in found.items() if epoch >= 160]
        if early and late:
            first, last = statistics.median(early) / 2**20, statistics.median(late) / 2**20
            print(f"{name}: {first:.0f} MiB at epochs 20 to 60, {last:.0f} from 160 on")
            assert last < 1.1 * first + 10
    lasted = [b - a for a, b in itertools.pairwise(times)]
    early_ms, late_ms = statistics.median(lasted[10:60]), statistics.median(lasted[-50:])
    print(f"an epoch: {early_ms:.0f} ms at epochs 10 to 60, {late_ms:.0f} ms of the last 50")


def epoch_times(logs: Path) -> list[int]:
    """Return the time in milliseconds at which each epoch was logged."""
    rows = (path.read_text().splitlines() for path in logs.rglob("metrics.jsonl"))
    lines = [line for text in rows for line in text if '"train/acc"' in line]
    return [json.loads(line)["time"] for line in lines]


@pytest.mark.slow
def test_a_report_of_ten_thousand_runs(tmp_path: Path) -> None:
    runs = tmp_path / "logs/train/runs"
    for number in range(10_000):
        folder = runs / f"2026-11-26_12-00-00_{number:08x}"
        folder.mkdir(parents=True)
        content = {
            "status": "finished",
            "started": "2026-11-26T12:00:00.000+00:00",
            "overrides": [f"seed={number}", f"model.optimizer.lr={number % 100 / 1000}"],
            "metrics": {"val/acc": number / 10_000, "val/loss": 1 - number / 10_000},
            "monitor": "val/acc",
            "mode": "max",
        }
        (folder / "run.json").write_text(json.dumps(content))
    started = time.monotonic()
    report = [sys.executable, "src/report.py", f"paths.log_dir={tmp_path}/logs", "top=5"]
    with (tmp_path / "report.txt").open("w") as output:
        process = subprocess.Popen(report, cwd=PROJECT, stdout=output, stderr=output)
        most = 0  # not `ru_maxrss`, which counts the process that forked this one
        while process.poll() is None:
            most = max(most, memory_of(psutil.Process(process.pid)))
            time.sleep(0.02)
    seconds, most = time.monotonic() - started, most / 2**20
    text = (tmp_path / "report.txt").read_text()
    assert process.returncode == 0, text
    assert "100 runs" in text  # replicates: a row per learning rate
    assert most < 300
    print(f"a report of 10,000 runs: {seconds:.1f} s, at most {most:.0f} MiB")
