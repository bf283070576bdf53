"""Names that no device or file can have, and errors on one line."""

from __future__ import annotations

import pytest

from foundation.cli.errors import UsageError, errors_as_one_line
from foundation.cli.flags import check_device
from foundation.cli.paths import find_checkpoint
from foundation.tasks.saved_params import ConfigError


@pytest.mark.parametrize("device", ["meta", "hpu", "mps", "privateuseone", "cuda:-1", "", "\0", "\ud800"])
def test_a_device_of_another_kind_is_refused_and_not_tried(device):
    with pytest.raises(UsageError, match="use --device cpu"):
        check_device(device)


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + ".pt", "/a" * 3000, "a\0b", "\ud800", "**"])
def test_a_checkpoint_of_a_name_that_no_file_can_have_does_not_exist(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for arguments in (
        (name, None, None),
        (name, None, "experiment"),
        (None, name, "experiment"),
        (None, None, name),
    ):
        with pytest.raises(UsageError):
            find_checkpoint(*arguments)


def test_an_error_is_one_line_and_its_quotes_cannot_steer_a_terminal(capsys):
    with pytest.raises(SystemExit) as caught, errors_as_one_line():
        raise ConfigError("got a\nb \x1b[2J\u2028\ud800 é")
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: got a\\nb \\x1b[2J\\u2028\\ud800 é\n"
