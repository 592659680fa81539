"""What the documents say is there, and every command in them is run: here, or by the test named.

Commands are the lines of ```bash blocks, and what stands between backticks and begins with a
program. Each trains for a few steps, and is otherwise run as it stands. By default those of the two
READMEs are run; `FULL=1 make test` runs those of every document.
"""

import re
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import FOLDER, FULL, HAS_GPU, TEMPLATE, Project

DOCUMENTS = sorted(
    [*TEMPLATE.glob("*.md"), *TEMPLATE.glob("docs/*.md"), *TEMPLATE.glob("benchmarks/*.md")]
)
READMES = [TEMPLATE / "README.md", FOLDER / "README.md"]
PROGRAMS = (
    r"python|make|pytest|pip|mlflow|tensorboard|wandb|torchrun|srun|sbatch|cruft|uvx"
    r"|uv (?:sync|add|pip|venv)"
)
COMMANDS = re.compile(
    rf"^```bash\n(?P<block>.*?)^```|^```.*?^```|`(?P<inline>(?:\w+=\S+ )*(?:{PROGRAMS}) [^`]+)`",
    re.MULTILINE | re.DOTALL,
)
# What is run elsewhere: in which file, as a pattern of the whole command, and by which words there.
OURS = "<<cookiecutter.project_slug>>/tests"
BY_FILE = {
    ".ci/run": {
        r"(FULL=1 )?make test": "make test",
        r"make check": "make check",
    },
    ".github/workflows/ci.yml": {
        r"make lowest": "target: lowest",
        r"make test-next": "target: next",
    },
    "tests/test_makefile.py": {
        r"make demo": "make demo",
        r"make bench.*": "make bench",
        r"make fix": "make fix",
    },
    "tests/test_benchmarks.py": {
        r"python benchmarks/command_line\.py PROJECT": "benchmarks/command_line.py",
        r"python benchmarks/scaling\.py PROJECT": "benchmarks/scaling.py",
    },
    "tests/test_project.py": {
        r"make faults": "python -m tests.faults",
        r"pytest -n auto": "project.run(tests)",
        r"pip install -e \. --group dev": "pip install",
    },
    "tests/conftest.py": {
        r"uvx cookiecutter PATH_OR_URL\w*": '"cookiecutter", "--no-input"',
    },
    "tests/test_update.py": {
        r"uvx cookiecutter --replay PATH_OR_URL": "replay=True",
        **{
            rf"(uvx )?cruft {verb}.*": f"cruft {verb}"
            for verb in ("create", "link", "check", "diff", "update")
        },
    },
    "tests/test_your_own_work.py": {  # the walk, as it stands in the document
        r"python .*\bfashion\b.*": 'blocks("IDX files")',
        r"python .*data\.path=PATH.*": 'blocks("A folder of pictures")',
        r"python .*wine\.csv.*": 'blocks("A CSV file")',
    },
    f"{OURS}/test_signals.py": {
        r"python src/train\.py ckpt_path=last": "ckpt_path=last",
    },
    f"{OURS}/test_completion.py": {
        r"python src/train\.py model/op<TAB>": "python src/train.py",
        r'autoload .*|eval "\$\(python src/train\.py -sc install=zsh\)"': "-sc install=zsh",
        r"python src/train\.py -sc install=fish \| source": "-sc install=fish",
    },
    f"{OURS}/test_export.py": {
        r"mlflow models serve.*": '"models", "serve"',
    },
    f"{OURS}/test_mlflow_server.py": {
        r"mlflow server": '"mlflow", "server"',
    },
    f"{OURS}/test_distributed.py": {
        r"srun .*": "SRUN = ",
    },
    f"{OURS}/test_launchers.py": {
        r"sbatch --requeue": '"sbatch", "--wait", "--requeue"',
        r"scripts/slurm_one_node\.sh .*": "scripts/slurm_one_node.sh",
    },
}
ELSEWHERE = [
    (pattern, file, words) for file, own in BY_FILE.items() for pattern, words in own.items()
]
SHORT = " ".join(
    [
        *("trainer.max_epochs=1", "trainer.min_epochs=1", "++trainer.limit_train_batches=2"),
        *("++trainer.limit_val_batches=2", "++trainer.limit_test_batches=2"),
    ]
)
ON_TWO_CORES = "trainer.accelerator=cpu trainer.devices=2 ++trainer.sync_batchnorm=false"
FEW_TRIALS = {
    "search=mnist_optuna": "hydra.sweeper.n_trials=2",
    "search=mnist_ax": "hydra.sweeper.ax_config.max_trials=2",
}
SERVERS = re.compile(r"make ui|python src/ui\.py|tensorboard .*")  # that do not end by themselves
# For FULL=1 alone: they take minutes, or change the environment.
LONG = re.compile(r"(make|pytest|uv|\.venv-ax\S*) .*")


def commands(path: Path) -> list[str]:
    """Return the commands that a document shows, in their order."""
    found = []
    for match in COMMANDS.finditer(path.read_text("utf-8")):
        block = re.sub(r"\\\n\s*", "", match["block"] or "")
        found += [re.sub(r"(^|\s+)#.*", "", line) for line in block.splitlines()]
        found.append(" ".join((match["inline"] or "").split()))
    return [line.removeprefix("uv run ") for line in found if line and not line.startswith("cd ")]


def is_run_elsewhere(line: str) -> bool:
    """Say whether a command is one of those that other tests run."""
    return any(re.fullmatch(pattern, line) for pattern, _, _ in ELSEWHERE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in link:
            assert (path.parent / link).exists(), f"{path.name} links to {link}"


@pytest.mark.parametrize("path", [*DOCUMENTS, FOLDER / "README.md"], ids=lambda path: path.name)
def test_no_command_hides_in_another_block(path: Path) -> None:
    for language, block in re.findall(
        r"^```(\w*)\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL
    ):
        assert language == "bash" or not re.search(rf"^(?:{PROGRAMS}) ", block, re.MULTILINE)


@pytest.mark.parametrize(("pattern", "file", "words"), ELSEWHERE)
def test_what_is_run_elsewhere_is_run_there(pattern: str, file: str, words: str) -> None:
    assert words in (TEMPLATE / file).read_text("utf-8")
    shown = [line for path in [*DOCUMENTS, *READMES] for line in commands(path)]
    assert any(re.fullmatch(pattern, line) for line in shown), "no document shows it any more"


def made_small(line: str) -> str:
    """Return a command that trains for two steps, on two cores where it asks for many GPUs."""
    line = line.replace("uv sync", "uv sync --quiet --inexact")  # keep what others need
    line = line.replace("--nproc-per-node 8", "--nproc-per-node 2")
    if SERVERS.fullmatch(line):
        return f"BROWSER=true timeout 30 {line}; test $? = 124"  # it ran until it was stopped
    if "src/train.py" not in line or " --" in line.partition("src/train.py")[2] or "-sc" in line:
        return line
    many = ON_TWO_CORES if "trainer=ddp" in line else ""
    few = [setting for search, setting in FEW_TRIALS.items() if search in line]
    small = " ".join([line, SHORT, many, *few])
    if "accelerator=gpu" in line and not HAS_GPU:  # it says so in two lines
        return f'told=$({small} 2>&1 >/dev/null); test $? = 1 && test $(wc -l <<<"$told") = 2'
    return small


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of pictures to predict."""
    folder = tmp_path_factory.mktemp("pictures")
    for shade in (0, 100, 200):
        Image.new("L", (28, 28), shade).save(folder / f"{shade}.png")
    return folder


@pytest.fixture(scope="session")
def already_run() -> set[str]:
    """Return the commands that an earlier document has shown to run."""
    return set()


@pytest.mark.parametrize(
    "path",
    [*READMES, *(DOCUMENTS if FULL else [])],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_commands_in_documents_run(
    project: Project, pictures: Path, already_run: set[str], path: Path
) -> None:
    project.run("uv sync --quiet --extra optuna --extra export --extra tensorboard")
    for line in commands(path):
        if line in already_run or is_run_elsewhere(line) or (LONG.match(line) and not FULL):
            continue
        already_run.add(line)
        trained = project.folder.glob("logs/train/runs/*/checkpoints/last.ckpt")
        newest = max(trained, key=lambda file: file.stat().st_mtime, default="none yet")
        filled = made_small(line)
        for word, own in (("PATH|X", newest), ("FOLDER|FOLDER_OR_FILE", pictures)):
            filled = re.sub(rf"=({word})\b", f"={own}", filled)
        filled = filled.replace(" ...", "").replace("--extra NAME", "--extra wandb")
        project.run(f"source .venv/bin/activate; {filled}", OMP_NUM_THREADS="1")
    project.run("git checkout --quiet . && git clean --force --quiet src configs tests")
