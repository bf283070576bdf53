"""The recipes of docs/EXTENDING.md, applied to a copy of the package: they work, and touch the files they name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "EXTENDING.md").read_text()
RECIPES = dict(re.findall(r"^## \d+\. (.*?)\n(.*?)(?=^## |\Z)", TEXT, re.S | re.M))
BLOCK = re.compile(r'^```(python|diff) title="([^"]+)"\n(.*?)^```', re.S | re.M)


def blocks(recipe: str) -> list[tuple[str, str, str]]:
    """Return the kind, title and text of a recipe's code blocks."""
    return BLOCK.findall(RECIPES[recipe])


def patched(text: str, diff: str) -> str:
    """Return a file's text with the one place changed that has the diff's context and removed lines."""
    lines = [(line[:1] or " ", line[1:]) for line in diff.splitlines()]
    before = "".join(f"{line}\n" for mark, line in lines if mark in " -")
    after = "".join(f"{line}\n" for mark, line in lines if mark in " +")
    assert text.count(before) == 1, f"the file has this {text.count(before)} times:\n{before}"
    return text.replace(before, after)


@pytest.fixture(scope="module")
def applied(tmp_path_factory) -> Path:
    """A folder with a copy of the package that all recipes have changed."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(ROOT / "foundation", folder / "foundation", ignore=shutil.ignore_patterns("__pycache__"))
    for recipe in RECIPES:
        for kind, title, code in blocks(recipe):
            path = folder / title
            if kind == "diff":
                path.write_text(patched(path.read_text(), code))
            elif title != "check":
                path.write_text((path.read_text() + "\n\n" if path.exists() else "") + code)
    return folder


def test_there_are_at_least_ten_recipes_each_with_a_check():
    assert len(RECIPES) >= 10
    for recipe in RECIPES:
        assert [title for _, title, _ in blocks(recipe)].count("check") == 1, recipe


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_touches_the_files_that_it_names_and_no_others(recipe):
    named = re.search(r"^\*\*Files:\*\* (.*?)$", RECIPES[recipe], re.M)
    assert named is not None
    touched = {title for _, title, _ in blocks(recipe)} - {"check"}
    assert set(re.findall(r"`([^`]+)`", named[1])) == touched


def test_the_checks_hold_where_all_recipes_are_applied(applied):
    checks = []
    for recipe in RECIPES:
        (code,) = (code for _, title, code in blocks(recipe) if title == "check")
        checks.append(f"print({recipe!r}, flush=True)\n{code}")
    (applied / "checks.py").write_text("\n\n".join(checks))
    done = subprocess.run(
        [sys.executable, "checks.py"],
        cwd=applied,
        env=os.environ | {"PYTHONPATH": str(applied)},
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert [line for line in done.stdout.splitlines() if line in RECIPES] == list(RECIPES)


def test_a_check_fails_where_its_recipe_is_not_applied():
    (code,) = (code for _, title, code in blocks("A console line") if title == "check")
    with pytest.raises(TypeError, match="learning_rate"):
        exec(compile(code, "check", "exec"), {})
