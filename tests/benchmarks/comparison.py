"""Comparison: whole training steps with the present code, and with that of another checkout, in one process."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from tests.benchmarks import machine, networks, results, steps, timing
from tests.benchmarks.contenders import BUILT_IN, OURS
from tests.benchmarks.networks import Network

OTHER = "keras_bn of the other checkout"


def measure(
    folder: Path, *, say: Callable[[str], None], models: list[Network] | None = None, rounds: int | None = None
) -> dict[str, Any]:
    """What was compared, and for each network the time with the other code, and the built-in layer's, over ours."""
    other = package_in(folder)
    records = []
    for network in models or networks.NETWORKS:
        keras.utils.set_random_seed(0)
        model = network.make()
        data = network.data(model)
        made = {name: networks.contender(name, model, masked=network.sequences) for name in (OURS, BUILT_IN)}
        made[OTHER] = networks.copy(model, other.BatchNormalization)
        contenders = {name: steps.Step(copy, *data) for name, copy in made.items()}
        steps.agree(network.name, contenders)
        seconds = timing.rounds({name: step.train for name, step in contenders.items()}, quick=False, count=rounds)
        record: dict[str, Any] = {"model": network.name}
        for what, name in (("other", OTHER), ("built_in", BUILT_IN)):
            found = timing.compared(seconds, name)[OURS]
            record[what] = [found.ratio, *found.ratio_quartiles]
        records.append(record)
        shown = (
            f"{what} {ratio:.2f}× [{low:.2f}, {high:.2f}]" for what, (ratio, low, high) in list(record.items())[1:]
        )
        say(f"{network.name:23s} {', '.join(shown)}")
        keras.backend.clear_session()
    return {**machine.description(), "with": results.code(folder), "code": results.code(), "steps": records}


def package_in(folder: Path) -> Any:
    """The package ``keras_bn`` of another checkout, beside the one that is imported."""

    def taken_out() -> dict[str, Any]:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "keras_bn"}

    own, names = taken_out(), keras.saving.get_custom_objects()
    registered = dict(names)
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("keras_bn")
    finally:
        sys.path.remove(str(folder))
        taken_out()
        sys.modules.update(own)
        names.clear()
        names.update(registered)
