"""Steps: whole training steps and predictions of networks, and what normalization costs of them."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.benchmarks import machine, networks, timing
from tests.benchmarks.contenders import BUILT_IN, IN_PLACE, LEAKY, NONE, OURS_LEAKY, TORCH, torch
from tests.benchmarks.networks import Network

# The largest difference of losses, of predictions, and of the gradient of all weights as one vector, relative to the
# built-in layer's: float32 through up to 121 layers, where some inputs of ReLUs fall on the other side. Of ResNet50 the
# bare kernel's gradient was seen to be 3.6 % off, ours less than 3 %; a factor of 1.1 in each layer adds up to more.
AGREEMENT = {"loss": 1e-3, "prediction": 1e-3, "gradient": 6e-2}


class Step:
    """A contender's training step and prediction, for a Keras model compiled here."""

    def __init__(self, model: keras.Model, x: np.ndarray, labels: np.ndarray) -> None:
        self._model, self._x, self._labels = model, tf.constant(x), tf.constant(labels)
        model.compile(keras.optimizers.SGD(networks.RATE), "mse")

    def train(self) -> float:
        return float(np.ravel(self._model.train_on_batch(self._x, self._labels))[0])

    def predict(self) -> np.ndarray:
        return self._model.predict_on_batch(self._x)

    def gradient(self) -> np.ndarray:
        """That of all weights in one vector, as a step of rate 1 shows it; the model is left as it was."""
        weights = self._model.get_weights()
        before = self._trainable()
        self._model.optimizer.learning_rate.assign(1.0)
        self.train()
        difference = before - self._trainable()
        self._model.optimizer.learning_rate.assign(networks.RATE)
        self._model.set_weights(weights)
        return difference

    def _trainable(self) -> np.ndarray:
        return np.concatenate([np.ravel(variable) for variable in self._model.trainable_variables])


class TorchStep:
    """The same for a PyTorch module, whose images lie in memory with their channels last."""

    def __init__(self, module: Any, x: np.ndarray, labels: np.ndarray) -> None:
        torch.set_num_threads(machine.threads())
        inputs = torch.from_numpy(x)
        self._x = inputs.permute(0, 3, 1, 2) if x.ndim == 4 else inputs
        self._module, self._labels = module, torch.from_numpy(labels)
        self._optimizer = torch.optim.SGD(module.parameters(), networks.RATE)

    def train(self) -> float:
        self._module.train()
        self._optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(self._module(self._x), self._labels)
        loss.backward()
        self._optimizer.step()
        return loss.item()

    def predict(self) -> np.ndarray:
        self._module.eval()
        with torch.no_grad():
            return self._module(self._x).numpy()


def measure(
    *,
    quick: bool,
    say: Callable[[str], None],
    models: list[Network] | None = None,
    contenders: tuple[str, ...] = networks.CONTENDERS[:5],
    rounds: int | None = None,
) -> list[dict[str, Any]]:
    """Records of all networks and contenders: time of a step, its ratio to the built-in layer's, and the cost.

    The cost is the time of a step beyond that of the same network without normalization, in the same round.
    """
    records = []
    for network in models or (networks.QUICK if quick else networks.NETWORKS):
        steps = dict(_steps(network, contenders))
        agree(network.name, steps)
        for kind in ("train", "predict"):
            runs = {name: getattr(step, kind) for name, step in steps.items()}
            seconds = timing.rounds(runs, quick=quick, count=rounds)
            results = timing.compared(seconds, BUILT_IN)
            for name, result in results.items():
                cost = timing.difference(seconds[name], seconds[NONE]) if NONE in seconds else None
                key = {"model": network.name, "step": kind, "threads": machine.threads(), "contender": name}
                records.append({**key, **result.record(), "cost": cost})
                costs = "" if cost is None else f", normalization {cost[1]:7.2f} [{cost[0]:.2f}, {cost[2]:.2f}]"
                low, high = result.quartiles
                shown = f"{result.milliseconds:8.2f} ms [{low:.2f}, {high:.2f}], {result.ratio:.2f}×{costs}"
                say(f"{network.name:23s} {kind:8s} {name:24s} {shown}")
        keras.backend.clear_session()
    return records


def _steps(network: Network, contenders: tuple[str, ...]) -> Any:
    keras.utils.set_random_seed(0)
    model = network.make()
    data = network.data(model)
    for name in contenders:
        made = networks.contender(name, model, masked=network.sequences)
        if made is not None:
            yield name, (TorchStep if name == TORCH else Step)(made, *data)


def agree(network: str, steps: dict[str, Any]) -> None:
    """Raise AssertionError unless all contenders compute the same, where they have the same layers."""

    def results(step: Any) -> dict[str, np.ndarray]:
        found = {"prediction": step.predict()}
        if isinstance(step, Step):
            found["gradient"] = step.gradient()
        return {**found, "loss": np.array(step.train())}

    expected: dict[str, dict[str, np.ndarray]] = {}
    for name, step in steps.items():
        if name == NONE:
            continue
        # With leaky ReLUs it is another network.
        reference = LEAKY if name in (LEAKY, OURS_LEAKY, IN_PLACE) else BUILT_IN
        if reference not in expected:
            expected[reference] = results(steps[reference])
        if name == reference:
            continue
        for what, found in results(step).items():
            true = expected[reference][what]
            error = np.linalg.norm(found - true) / np.linalg.norm(true)
            if not error <= AGREEMENT[what]:
                raise AssertionError(f"{network}: {what} of {name} differs by {error:.1e} from {reference}")
