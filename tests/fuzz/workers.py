"""Runs cases in a process of their own, which may run out of memory, hang or crash."""

import multiprocessing
import os

from tests.fuzz import campaign

_PATIENCE = 60  # seconds without an end of a case: the process is ended


def _work(seed, counts, at, pipe):
    """Runs cases in this process and sends (cases done, fault or None)."""
    from tests.fuzz import readers  # imports JAX

    campaign.limit_memory()
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)  # libraries of image formats write there
    numbers = ((count, f"{seed}/{count}") for count in counts)
    done = 0
    for fault in campaign.run(numbers, readers.READERS, at):
        done += 1
        if fault or done == 100:
            pipe.send((done, fault))
            done = 0
    pipe.send((done, None))
    pipe.send(None)


def run(seed, counts):
    """Runs one worker at a time over the counts; one that dies is followed by another.

    Yields (cases done, fault or None).
    """
    counts = list(counts)
    context = multiprocessing.get_context("spawn")
    while counts:
        at = context.Value("q", counts[0], lock=False)
        mine, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(seed, counts, at, theirs))
        worker.start()
        theirs.close()
        how = ""
        while not how:
            before = at.value
            if mine.poll(_PATIENCE):
                try:
                    result = mine.recv()
                except EOFError:
                    worker.join()
                    how = f"the process ended with {worker.exitcode}"
                    break
                if result is None:
                    worker.join()
                    return
                yield result
            elif at.value == before:
                worker.kill()
                worker.join()
                how = f"no end within {_PATIENCE} s"
        case = campaign.make(f"{seed}/{at.value}")
        yield 1, campaign.Fault(f"{case.reader}: {how}", case, how)
        counts = [count for count in counts if count > at.value]
