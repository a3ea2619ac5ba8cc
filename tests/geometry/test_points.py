"""Where points are stored and which devices work on them: picks are the same."""

import functools
import os
import socket
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import dact_jax
from dact_jax.geometry import k_center, points
from tests import quick
from tests.geometry import reference
from tests.geometry.neighbors import oracle
from tests.geometry.reference import BLOCKS, greedy

CELLS = BLOCKS._replace(cell_pairs=0, cell_variance=-1)


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("num_devices", [1, 2])
@pytest.mark.parametrize("num", [1, 3, 130, 5001])
def test_picks_do_not_depend_on_devices_and_residence(num, num_devices, resident):
    pool = np.random.default_rng(num).normal(size=(num, 24)).astype(np.float32)
    budget, mesh = min(num, 150), reference.first_devices(num_devices)
    picked = k_center.select(pool, budget, mesh=mesh, resident=resident, tuning=CELLS)
    assert picked.row.tolist() == [0, *greedy(pool, [0], budget - 1)]


# Arguments: number of devices; for two processes also the address and the process.
SCRIPT = """
import sys
import jax, numpy as np
from jax.sharding import Mesh
from dact_jax.geometry import k_center
from dact_jax.geometry.neighbors import candidates, graph
from dact_jax.geometry.tuning import Tuning
if len(sys.argv) > 2:
    jax.distributed.initialize(sys.argv[2], 2, int(sys.argv[3]))
points = np.random.default_rng(5).normal(size=(5003, 24)).astype(np.float32)
mesh = Mesh(np.array(jax.devices()[:int(sys.argv[1])]), ("data",))
for scan in (0, 2**20):
    tuning = Tuning(scan_numbers=scan, cell_pairs=0, cell_variance=-1)
    for resident in (False, True):
        options = {"mesh": mesh, "resident": resident, "tuning": tuning}
        picked = k_center.select(points, 200, labelled=[3], **options)
        print(scan, resident, *picked.row)
few, sizes = points[:701], candidates.Sizes(64, 128, plain=0, host=0)
for resident in (False, True):
    near = graph.nearest(few, 5, mesh=mesh, resident=resident, sizes=sizes)
    print("0 neighbors", *near.row.ravel())
"""


def start(num_local_devices, *args):
    count = f"--xla_force_host_platform_device_count={num_local_devices}"
    flags = f"{count} {quick.xla_flags()}"
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-c", SCRIPT, *args]
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def rows(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    lines = [line.split() for line in out.splitlines() if line[0].isdigit()]
    found = {}
    for line in lines:
        row = [int(x) for x in line[2:]]
        assert found.setdefault(tuple(line[:2]), row) == row  # of both residences
    return found


@functools.cache
def expected():
    """The picks, and the neighbors of the first rows one after the other."""
    pool = np.random.default_rng(5).normal(size=(5003, 24)).astype(np.float32)
    near = oracle.neighbors(pool[:701], 5)[0]
    return greedy(pool, [3], 200), near.ravel().tolist()


def check_rows(found):
    assert len(found) == 5
    picks, near = expected()
    assert found.pop(("0", "neighbors")) == near
    assert all(row == picks for row in found.values())


def test_eight_devices():
    check_rows(rows(start(8, "8")))


def test_two_processes():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    processes = [start(1, "2", address, str(number)) for number in range(2)]
    for found in map(rows, processes):
        check_rows(found)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8])
def test_a_memory_mapped_file(tmp_path, dtype):
    pool = (20 * np.random.default_rng(1).normal(size=(3000, 50))).astype(dtype)
    np.save(tmp_path / "x.npy", pool)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    right = greedy(pool, [5], 30)
    assert dact_jax.k_center(mapped, 30, labelled=[5]).tolist() == right
    blocks = k_center.select(mapped, 30, labelled=[5], tuning=BLOCKS)
    assert blocks.row.tolist() == right


@pytest.mark.parametrize("order", ["F", "slice"])
def test_an_array_that_is_not_contiguous_is_not_copied_as_a_whole(order):
    array = np.random.default_rng(0).normal(size=(20000, 64)).astype(np.float32)
    array = np.asfortranarray(array) if order == "F" else array[:, :32]
    rows = np.arange(4000)
    tracemalloc.start()
    copy = points._take(array, rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(copy, array[rows])
    assert peak < 3 * copy.nbytes
