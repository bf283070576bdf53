"""The simulator's Warp kernels, and how to read them, for engineers who know torch but not Warp.

**Kernels and functions.** Warp compiles functions marked ``@wp.kernel``, with Clang for the CPU and with NVRTC
for CUDA, at the first launch, and caches the result on disk. A launch runs a kernel once per thread, and
``wp.tid()`` is the thread's number. Functions marked ``@wp.func`` are called from kernels. Their types are fixed
when they are compiled: an argument of type ``Any`` takes the caller's type, ``type(x)(...)`` constructs another
value of the type of ``x``, and an argument ``like`` is there for its type alone. In torch every operation reads
its operands from memory and writes its result back; a kernel does the work of hundreds of operations on values
that stay in registers.

**Blocks of lanes.** On the CPU Warp runs a kernel's threads one after the other, in a loop, and compiles each
for single numbers, which leaves most of a vector register unused. Here a thread advances a block of 16
environments. Every quantity of the block is a vector of 16 numbers, one lane per environment, and ``+``, ``-``
and ``*`` act on all lanes at once: 75 ns per environment and step instead of 353 (``benchmarks/NOTES.md``). On
CUDA each thread is a lane of the hardware already, so that there a block is one environment and a vector has
length 1; the source is the same. :mod:`~foundation.sim.kernels.lanes` holds the arithmetic,
:mod:`~foundation.sim.kernels.vectors` 3-vectors and quaternions of lanes, and
:mod:`~foundation.sim.kernels.dynamics` the physics.

**Branches.** All lanes execute the same instructions. A choice per lane is therefore a mask: ``wp.where``,
``wp.min`` or ``wp.max``. Only a reset, which is rare and full of branches, visits one environment at a time.

**Memory.** The state is one array of 20 rows, one per number of an environment (:mod:`foundation.sim.layout`),
and one column per environment. 16 neighbours in a row are one vector, read and written at once. Kernels see the
array twice: as ``blocks`` of vectors, and as ``scalars``, the same memory, for resets. Torch sees transposed
views such as ``pos_w``, shape (N, 3), again of the same memory. If N is no multiple of 16, the last block has
surplus lanes: they are simulated, and no view shows them.

**Vehicles.** Each environment flies one row of the vehicle table, declared with
:class:`~foundation.sim.params.QuadParams`. A kernel gathers the rows of a block into a matrix, ``v``, whose row
``v[Column.DRAG]`` is that column of the table for every lane. Loops over it must be unrolled (``max_unroll``):
with constant indices it stays in registers, and without them physics takes half as long again.

**Recorded launches.** Packing the arguments of a launch takes Warp 11 microseconds, longer than it takes to
advance 100 environments. Arrays, settings and kernel are the same in every step, so that
:class:`~foundation.sim.launch.RecordedLaunch` packs them once and repeats the launch.

**Addresses.** A recorded launch has fixed arrays, yet a step must return new tensors, which a caller may keep.
The kernel therefore takes their addresses as integers, the only arguments that change from step to step, and
makes arrays of them. Writing into an array of its own and cloning that would take every observation through
memory three times instead of once.

**Random numbers** are functions of a key and a counter: see :mod:`~foundation.sim.kernels.random_numbers`.
"""
