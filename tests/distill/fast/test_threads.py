"""When torch may use its threads."""

from __future__ import annotations

import pytest
import torch

from foundation.distill.fast.threads import FEW_ROWS, threads_for


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("rows", "device", "threads"), [(FEW_ROWS, "cpu", 1), (FEW_ROWS + 1, "cpu", 2), (1, "cuda", 2)]
)
def test_few_rows_on_a_cpu_get_one_thread_and_everything_else_keeps_its_threads(
    rows, device, threads, two_threads
):
    with threads_for(rows, device):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2


def test_the_threads_come_back_after_an_error(two_threads):
    with pytest.raises(KeyboardInterrupt), threads_for(1, "cpu"):
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 2
