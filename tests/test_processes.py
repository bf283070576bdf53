"""Child processes of tests cannot hang the suite, and say where they hung."""

from __future__ import annotations

import os
import threading
from multiprocessing.connection import Connection

import pytest
import torch

from tests.support.processes import Child, in_child


def wait_for_ever(answers: Connection) -> None:
    answers.send("here")
    threading.Event().wait()


def hang_after_bytes_that_are_no_text(answers: Connection) -> None:
    os.write(2, b"\xff\xfe")
    wait_for_ever(answers)


def die() -> None:
    os._exit(7)


def product(size: int) -> float:
    return float((torch.ones(size, size) @ torch.ones(size, size)).sum())


def test_a_child_that_hangs_is_ended_and_its_place_is_named():
    child = Child(wait_for_ever)
    assert child.receive() == "here"
    with pytest.raises(AssertionError, match=r"(?s)wait_for_ever sent nothing for 0\.2 s.*in wait_for_ever"):
        child.receive(0.2)
    assert child.process.exitcode is not None


def test_a_child_that_wrote_bytes_that_are_no_text_is_ended_too():
    child = Child(hang_after_bytes_that_are_no_text)
    assert child.receive() == "here"
    with pytest.raises(AssertionError, match=r"(?s)sent nothing for 0\.2 s.*in wait_for_ever"):
        child.receive(0.2)


def test_a_child_that_dies_is_an_error_with_its_code():
    with pytest.raises(AssertionError, match="die ended with code 7"):
        in_child(die)


def test_a_child_multiplies_matrices_although_its_parents_threads_have_begun():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert product(300) == in_child(product, 300) == 300.0**3
    finally:
        torch.set_num_threads(threads)
