"""Everything that exists for speed alone.

The contract: each file here returns the plain result up to rounding. Delete the folder and training is only
slower.

The core imports nothing from here. :func:`foundation.distill.fast_paths.fastest` replaces a class of the core by
its subclass in :data:`SUBSTITUTES`, unless the option ``use_fast_paths`` is False. A subclass decides by itself
whether its fast path applies to a model, a loss or a device, and otherwise does what the class of the core does.
"""

from __future__ import annotations

from foundation.distill.algorithm.imitation import Imitation
from foundation.distill.algorithm.nan_guard import NanGuard
from foundation.distill.fast.closed_form import ClosedFormImitation
from foundation.distill.fast.deferred_nan_guard import DeferredNanGuard
from foundation.distill.fast.deferred_rollout import DeferredCollector
from foundation.distill.fast.device_sampling import DeviceWithoutReplacement
from foundation.distill.fast.device_sync import BatchedScalarReader
from foundation.distill.history.samplers import WithoutReplacement
from foundation.distill.rollout.collector import Collector
from foundation.distill.scalars import ScalarReader

SUBSTITUTES: dict[type, type] = {
    Collector: DeferredCollector,
    Imitation: ClosedFormImitation,
    NanGuard: DeferredNanGuard,
    ScalarReader: BatchedScalarReader,
    WithoutReplacement: DeviceWithoutReplacement,
}
