"""Histories that were saved before rows had origins."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from foundation.distill.history.origins import ORIGIN, Origins, as_field, isolated
from foundation.distill.history.row_format import Parts, RowFormat


def with_origins(state: dict[str, Any], parts: Parts | None, burn_in: int) -> tuple[dict[str, Any], Parts | None]:
    """Return a saved dataset whose rows have origins, which say that nothing is known of them.

    Args:
        state: A state of :meth:`AggregatedDataset.state_dict` without origins.
        parts: Its rows, if they are saved apart.
        burn_in: Steps of a row before the first that counts.
    """
    history, held = state["history"], state["filter"]
    old = RowFormat.of_description(history["fields"])
    new = RowFormat.of_description({**old.description(), ORIGIN: "torch.int32 []"})
    width = math.prod(old.fields["dones"][1])

    def converted(slots: torch.Tensor, records: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(len(records), new.words, dtype=new.dtype)
        fields = new.views(out)
        for name, values in old.views(records).items():
            fields[name].copy_(values)
        fields[ORIGIN].copy_(as_field(isolated(slots, width, burn_in)))
        return out

    def converted_parts(parts: Parts) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for slots, records in parts:
            yield slots, converted(slots, records)

    size = history["size"]
    rows = None if history["rows"] is None else converted(torch.arange(size), history["rows"])
    history = {**history, "rows": rows, "fields": new.description()}
    if held is not None:
        waiting = []
        for one in held["waiting"]:
            count = len(one["env"])
            slots = torch.arange(size, size + count)
            waiting.append({**one, ORIGIN: as_field(isolated(slots, width, burn_in))})
            size += count
        held = {**held, "waiting": waiting}
    origins = Origins()
    origins.forget(size, width)
    state = {**state, "history": history, "filter": held, "origins": origins.state_dict()}
    return state, None if parts is None else converted_parts(parts)
