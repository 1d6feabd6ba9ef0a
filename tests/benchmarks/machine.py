"""What the figures were measured on."""

import importlib.metadata
import os
import platform
from datetime import date
from typing import Any

import tensorflow as tf

PACKAGES = ("keras-bn", "keras", "tensorflow", "numpy", "torch")


def description() -> dict[str, Any]:
    """Processor, cores that this process may use, versions and date."""
    return {
        "machine": {"processor": _processor(), "cores": cores(), "versions": dict(_versions())},
        "date": date.today().isoformat(),
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Threads that an operation of TensorFlow may use."""
    return tf.config.threading.get_intra_op_parallelism_threads() or cores()


def use_threads(count: int) -> None:
    """Let TensorFlow use so many threads; before its first operation."""
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _versions():
    yield "python", platform.python_version()
    for package in PACKAGES:
        try:
            yield package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
