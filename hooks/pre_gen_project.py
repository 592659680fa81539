"""Refuse answers that would make a broken project, each in one line."""

import json
import keyword
import re
import sys

# Inside the raw string JSON keeps quotes and backslashes escaped: no answer can end it.
ANSWERS = json.loads(r"""
<< cookiecutter | tojson >>
""")
# As typed: on the command line, cookiecutter renders an answer as if it were a template. (cruft
# keeps no such record.)
TYPED = json.loads(r"""
<< _cookiecutter | default({}) | tojson >>
""")
# The project cannot have the name of a dependency, nor of a folder in it.
DEPENDENCIES = {
    *("hydra", "hydra_core", "hydra_plugins", "lightning", "lightning_fabric", "matplotlib"),
    *("mlflow", "numpy", "omegaconf", "optuna", "pandas", "peft", "psutil", "pyarrow", "pytest"),
    *("python_dotenv", "pytorch_lightning", "rich", "ruff", "scikit_learn", "sklearn", "src"),
    *("tensorboard", "test", "tests", "torch", "torchmetrics", "torchvision", "transformers"),
    *("ty", "wandb"),
}
DELIMITER = re.compile("<{2}|>{2}|# <[%#]")
WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)")


def problems() -> list[str]:
    """Return a line for each answer that cannot be used."""
    found = []
    slug = ANSWERS["project_slug"]
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", slug, re.ASCII):
        expected = "a lower-case letter, then lower-case letters, digits and _ (64 at most)"
        found.append(f"project_slug: got {slug[:80]!r}, expected {expected}")
    elif keyword.iskeyword(slug) or keyword.issoftkeyword(slug):
        found.append(f"project_slug: got {slug!r}, expected a name that is no Python keyword")
    elif slug in sys.stdlib_module_names or slug in DEPENDENCIES or WINDOWS.fullmatch(slug):
        expected = "a name that neither Python, a dependency nor Windows has taken"
        found.append(f"project_slug: got {slug!r}, expected {expected}")
    for question in ("project_name", "description", "author_name", "author_email"):
        answer = ANSWERS[question]
        if not answer.strip() or len(answer) > 200 or not answer.isprintable():
            expected = "one line of 1 to 200 printable characters"
            found.append(f"{question}: got {answer[:80]!r}, expected {expected}")
        elif DELIMITER.search(typed := TYPED.get(question, answer)) or DELIMITER.search(answer):
            expected = "an answer without the template's delimiters"
            found.append(f"{question}: got {typed[:80]!r}, expected {expected}")
    email = ANSWERS["author_email"]
    if not re.fullmatch(r"[^\s@<>\"'\\,;:()\[\]]+@[^\s@<>\"'\\,;:()\[\]]+", email):
        found.append(f"author_email: got {email[:80]!r}, expected something like you@example.com")
    return found


if __name__ == "__main__":
    if lines := problems():
        print("\n".join(lines), file=sys.stderr)
        sys.exit(1)
