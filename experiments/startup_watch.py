"""A run until its first iteration is done: a process that `experiments.startup` times.

It is run as text, with the package of the code that is timed, which may be older.
"""

import importlib
import json
import tempfile
import time


def main(began: float, config: str) -> None:
    """Runs a config in a folder of its own, and stops it at its first iteration.

    One line of JSON tells the seconds until all was imported, until the run was made
    and until its first iteration, and how many programs were compiled, or read.

    Args:
      began: when the process was started, in seconds since 1970.
      config: name of a packaged config.
    """
    importlib.import_module("dact_jax.main")  # all that the command imports
    from jax._src import monitoring

    from dact_jax import errors, preparation, runner
    from dact_jax.configuration import files
    from dact_jax.training import loop

    told = {"imported": time.time() - began, "compiled": 0, "read": 0}
    make_run, check_finite = preparation.make_run, loop._check_finite

    def made(*arguments, **options):
        run = make_run(*arguments, **options)
        told["made"] = time.time() - began
        return run

    def stop(*arguments):  # after each call of the device; the first is one iteration
        check_finite(*arguments)
        told["first_iteration"] = time.time() - began
        raise errors.StoppedError("the first iteration is done")

    def count(name, **_):
        told["compiled"] += name == "/jax/compilation_cache/cache_misses"
        told["read"] += name == "/jax/compilation_cache/cache_hits"

    preparation.make_run, loop._check_finite = made, stop
    monitoring.register_event_listener(count)
    with tempfile.TemporaryDirectory() as folder:
        try:
            runner.run(files.load(config), f"{folder}/run")
        except errors.StoppedError:
            print(json.dumps(told))
