"""What a run prints of its configuration."""

from typing import Any

import pytest

from src.runtime import console


def config(job: int, **net: Any) -> dict[str, Any]:
    """Return a configuration with a folder of its own."""
    folder = f"logs/{job}"
    return {"paths": {"output_dir": folder}, "net": net, "images": {"dir": f"{folder}/images"}}


def test_a_further_configuration_is_printed_as_what_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "_shown", {})
    console.print_config(config(0, width=8, depth=2))
    assert "dir: logs/0/images" in capsys.readouterr().out
    console.print_config(config(1, width=16))
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["config, otherwise as above", "├── net.width: 16", "└── ~net.depth: 2"]
