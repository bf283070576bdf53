"""Records against the tensors that they were made of."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.distill.history.row_format import RowFormat

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.bool, torch.int64]
FIELDS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(1, 4), max_size=3)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(FIELDS)
def test_fields_of_every_dtype_and_shape_come_back_and_do_not_touch_each_other(fields):
    example = {name: (torch.rand(3, *shape) * 9).to(dtype) for name, (dtype, shape) in fields.items()}
    record = RowFormat(example)
    rows = torch.full((3, record.words), -1, dtype=record.dtype)
    views = record.views(rows)
    for name, values in example.items():
        views[name].copy_(values)
    for name, values in record.views(rows.clone()).items():
        assert values.dtype == example[name].dtype
        assert torch.equal(values, example[name])
    used = sum(values[0].nbytes for values in example.values())
    assert used <= record.num_bytes < used + 8


@settings(max_examples=60, deadline=None)
@given(FIELDS, st.integers(0, 4))
def test_numpy_writes_the_bytes_that_torch_writes_also_from_values_that_are_not_contiguous(fields, count):
    example = {name: (torch.rand(count, *shape) * 9).to(dtype) for name, (dtype, shape) in fields.items()}
    record = RowFormat(example)
    by_torch, by_numpy = torch.zeros(2, count, record.words, dtype=record.dtype)
    for name, values in example.items():
        record.views(by_torch)[name].copy_(values)
        spread = torch.stack([values, values], -1)[..., 0]
        record.structured(by_numpy)[name] = record.as_bytes(name, spread)
    assert torch.equal(by_torch, by_numpy)


def test_the_order_of_fields_does_not_change_where_they_lie():
    fields = {"a": torch.zeros(1, 2), "b": torch.zeros(1, 3), "c": torch.zeros(1, dtype=torch.uint8)}
    forth, back = RowFormat(fields), RowFormat(dict(reversed(fields.items())))
    rows = torch.arange(forth.words)[None]
    assert all(torch.equal(values, back.views(rows)[name]) for name, values in forth.views(rows).items())
