"""Exports: what was written says what the original says, whatever the size of the batch."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import torch

from src.export import export
from src.runtime import model_formats
from src.runtime.checkpoints import load_model
from src.train import train
from tests.conftest import SMALL, Compose


@pytest.fixture
def checkpoint(composed: Compose, tmp_path: Path) -> Path:
    """Return the checkpoint of a short training."""
    train(composed(*SMALL, "seed=0", "test=false"))
    return tmp_path / "checkpoints" / "last.ckpt"


def test_torch_export(
    composed: Compose, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = composed(f"ckpt_path={checkpoint}", "format=torch_export", config_name="export")
    output = export(cfg)
    assert capsys.readouterr().out.count("largest difference from the original") == 3
    images = torch.randn(5, 1, 28, 28)
    torch.testing.assert_close(
        torch.export.load(output).module()(images), load_model(checkpoint)(images)
    )


def test_a_difference_is_an_error(
    composed: Compose, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(model: torch.nn.Module, inputs: torch.Tensor, path: Path) -> model_formats.Exported:
        return lambda batch: model(batch) + 1e-3

    monkeypatch.setitem(model_formats.FORMATS, "torch_export", (".pt2", wrong))
    cfg = composed(f"ckpt_path={checkpoint}", "format=torch_export", config_name="export")
    with pytest.raises(ValueError, match=r"differs from the original by 0\.001"):
        export(cfg)


def test_an_unknown_format_is_told(composed: Compose) -> None:
    with pytest.raises(ValueError, match="choose one of onnx, torch_export, mlflow"):
        export(composed("ckpt_path=x.ckpt", "format=tflite", config_name="export"))


def test_onnx(composed: Compose, checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    output = tmp_path / "new" / "net.onnx"
    overrides = (f"ckpt_path={checkpoint}", "format=onnx", f"output={output}")
    export(composed(*overrides, config_name="export"))
    images = torch.randn(5, 1, 28, 28)
    (outputs,) = onnxruntime.InferenceSession(output).run(None, {"inputs": images.numpy()})
    expected = load_model(checkpoint)(images)
    torch.testing.assert_close(torch.from_numpy(outputs), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.server
def test_mlflow_serves_it_over_http(composed: Compose, checkpoint: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    model = export(composed(f"ckpt_path={checkpoint}", "format=mlflow", config_name="export"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    bin_dir = Path(sys.executable).parent
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            [
                *(bin_dir / "mlflow", "models", "serve", "--env-manager", "local"),
                *("--model-uri", model, "--port", str(port)),
            ],
            env=os.environ | {"PATH": f"{bin_dir}:{os.environ['PATH']}"},
            cwd=tmp_path,  # not the project: the model needs none of its code
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        images = torch.randn(3, 1, 28, 28)
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            data=json.dumps({"inputs": images.tolist()}).encode(),
            headers={"Content-Type": "application/json"},
        )
        answer = answered(request, server, seconds=180)
    finally:
        os.killpg(server.pid, 15)
        server.wait()
    outputs = torch.tensor(answer["predictions"])
    torch.testing.assert_close(outputs, load_model(checkpoint)(images), rtol=1e-4, atol=1e-4)


def answered(
    request: urllib.request.Request, server: subprocess.Popen[bytes], seconds: float
) -> dict[str, list[list[float]]]:
    """Return what the server answers, once it does."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(request) as response:
                return json.load(response)
        except OSError:
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(1)
