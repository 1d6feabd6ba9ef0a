"""A second process that settles claims: with two cores, a proof of everything takes half of the time."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from derivations import FAMILIES
from derivations.claims.claim import Claim
from derivations.quiet import held_stderr

# Parts of the claims are families, but for the graphs, which are two parts of about the same work.
CLOSED_FORM, KERNELS = "graphs of the closed form", "graphs of all other engines"
# Families that take half of the time, and hold nothing that cannot be sent from one process to another.
APART = ("steps", "forms", "second_order", "bounds", "mistakes", "tutorials")

Progress = Callable[[str], None]


@contextmanager
def second_process(parts: Sequence[str]) -> Iterator[Callable[[str, Progress], list[Claim]]]:
    """A function that returns the settled claims of a part, and tells its second argument how far it is.

    With two cores and more a second process settles ``parts``, in this order, from now on, and this one what else is
    asked for. The second process ends with the context.
    """
    if not parts or (os.cpu_count() or 1) < 2:
        yield _settled
        return
    context = multiprocessing.get_context("spawn")  # TensorFlow has threads, which do not survive a fork
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_second, args=(sender, parts), daemon=True)
    process.start()
    sender.close()
    arrived: dict[str, list[Claim]] = {}

    def settled(part: str, progress: Progress) -> list[Claim]:
        if part not in parts:
            return _settled(part, progress)
        progress(f"{part}, by a second process")
        while part not in arrived:
            arrived.update(_received(receiver))
        return arrived[part]

    try:
        yield settled
    finally:
        process.terminate()
        process.join()


def _settled(part: str, progress: Progress) -> list[Claim]:
    given, settled = [], []
    if part in (CLOSED_FORM, KERNELS):
        module = import_module(FAMILIES["graphs"])
        given.append([graph for graph in module.GRAPHS if (graph.engine == "closed_form") == (part == CLOSED_FORM)])
    else:
        module = import_module(FAMILIES[part])
    for claim in module.claims(*given):
        progress(claim.identifier)
        settled.append(claim.settle())
    return settled


def _second(sender: Connection, parts: Sequence[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    try:
        for part in parts:
            with held_stderr():
                settled = _settled(part, lambda identifier: None)
            sender.send({part: settled})
    except Exception as error:  # whatever it is, it is raised where it is waited for
        sender.send(error)


def _received(receiver: Connection) -> dict[str, list[Claim]]:
    try:
        result: Any = receiver.recv()
    except EOFError:
        raise RuntimeError("the process that settles claims was ended") from None
    if isinstance(result, BaseException):
        raise result
    return result
