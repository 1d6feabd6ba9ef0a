"""The claims about graphs, settled by two processes: those of one engine by this one, of the other by a second one."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from derivations.claims.claim import Claim

Settle = Callable[[Callable[[str], None]], list[Claim]]


@contextmanager
def graphs_ahead() -> Iterator[Settle]:
    """A function that returns the settled claims about all graphs, and tells its argument how far it is.

    With two cores and more a second process has begun with them by then; it ends with the context.
    """
    if (os.cpu_count() or 1) < 2:
        yield lambda progress: _settled("closed_form", progress) + _settled("fused", progress)
        return
    context = multiprocessing.get_context("spawn")  # TensorFlow has threads, which do not survive a fork
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_second, args=(sender,), daemon=True)
    process.start()
    sender.close()

    def settled(progress: Callable[[str], None]) -> list[Claim]:
        mine = _settled("fused", progress)
        progress("the graphs of the closed form, by a second process")
        return _received(receiver) + mine

    try:
        yield settled
    finally:
        process.terminate()
        process.join()


def _settled(engine: str, progress: Callable[[str], None]) -> list[Claim]:
    from derivations.claims.families import graphs

    settled = []
    for claim in graphs.claims([graph for graph in graphs.GRAPHS if graph.engine == engine]):
        progress(claim.identifier)
        settled.append(claim.settle())
    return settled


def _second(sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    try:
        sender.send(_settled("closed_form", lambda identifier: None))
    except Exception as error:  # whatever it is, it is raised where it is waited for
        sender.send(error)


def _received(receiver: Connection) -> list[Claim]:
    try:
        result: Any = receiver.recv()
    except EOFError:
        raise RuntimeError("the process that settles claims about graphs was ended") from None
    if isinstance(result, BaseException):
        raise result
    return result
