"""`init_from`: weights of checkpoints, nets and files from elsewhere."""

import logging
import os
import re
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from src.runtime.checkpoints import load_initial_weights
from src.runtime.project import ConfigError


def make_net(classes: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, classes))


class Module(LightningModule):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.net = make_net(classes)


def with_prefix(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize("prefix", ["", "net.", "model.", "module.", "module.model.", "_orig_mod."])
def test_weights_are_found_under_the_usual_prefixes(
    prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    state = make_net().state_dict()
    torch.save(with_prefix(prefix, state), tmp_path / "net.pt")
    model = Module()
    load_initial_weights(model, tmp_path / "net.pt")
    assert "9 of the model's 9 weights" in caplog.text
    assert torch.equal(model.net[0].weight, state["0.weight"])
    assert torch.equal(model.net[1].running_mean, state["1.running_mean"])


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_a_checkpoint_is_accepted_and_a_bare_net_takes_its_weights(
    wrapper: str, tmp_path: Path
) -> None:
    module = Module()
    torch.save({wrapper: module.state_dict(), "epoch": 3}, tmp_path / "run.ckpt")
    net = make_net()
    load_initial_weights(net, tmp_path / "run.ckpt")
    assert torch.equal(net[2].weight, module.net[2].weight)


def test_compiled_parts_in_the_middle_of_a_name_fit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    state = with_prefix("net._orig_mod.", make_net().state_dict())
    torch.save(state, tmp_path / "net.pt")
    load_initial_weights(Module(), tmp_path / "net.pt")
    assert "9 of" in caplog.text


def test_a_new_head_stays_and_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    torch.save(Module(classes=3).state_dict() | {"ema": torch.ones(1)}, tmp_path / "net.pt")
    model = Module(classes=5)
    head = model.net[2].weight.clone()
    load_initial_weights(model, str(tmp_path / "net.pt"))
    assert torch.equal(model.net[2].weight, head)
    assert "7 of the model's 9 weights" in caplog.text
    assert re.search(r"2 stay as initialized: \['net\.2\.weight'", caplog.text)
    assert re.search(r"3 in the file are not used: \['net\.2\.weight', .*ema", caplog.text)


def test_safetensors(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    state = make_net().state_dict()
    safetensors.save_file(state, tmp_path / "net.safetensors")
    model = Module()
    load_initial_weights(model, tmp_path / "net.safetensors")
    assert torch.equal(model.net[0].weight, state["0.weight"])
    (tmp_path / "bad.safetensors").write_text("no such thing")
    with pytest.raises(ConfigError, match=r"bad\.safetensors is damaged"):
        load_initial_weights(model, tmp_path / "bad.safetensors")


def test_what_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    torch.save({"encoder.weight": torch.ones(2, 2)}, tmp_path / "other.pt")
    with pytest.raises(ConfigError, match=r"none of its weights fits.*encoder\.weight"):
        load_initial_weights(Module(), tmp_path / "other.pt")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    with pytest.raises(ConfigError, match="none of its weights fits"):
        load_initial_weights(Module(), tmp_path / "empty.pt")
    with pytest.raises(ConfigError, match=r"init_from=.*missing\.pt does not exist"):
        load_initial_weights(Module(), tmp_path / "missing.pt")


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("proof",)


def test_no_code_in_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(Module().state_dict() | {"net.9": Malicious()}, "bad.pt")
    with pytest.raises(ConfigError):
        load_initial_weights(Module(), "bad.pt")
    assert not Path("proof").exists()
