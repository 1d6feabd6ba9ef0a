"""``BatchNormalization``, the Keras layer."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_bn import arguments, functional, ghost_batches, masking, moving_state, recomputation, replicas, xla
from keras_bn.batch import TensorBatch, statistics_dtype
from keras_bn.engines import closed_form, from_output, fused, selection
from keras_bn.engines.selection import Choice, Request
from keras_bn.formulas.training import Fallback, Moments
from keras_bn.moving_state import State
from keras_bn.tensors import as_built, as_real, check_shape, known_channels, with_channels


@keras.saving.register_keras_serializable(package="keras_bn", name="BatchNormalization")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization whose backward pass is the proved closed form.

    A drop-in for ``keras.layers.BatchNormalization``: the same arguments, defaults and weights in the same order, so
    that weights files exchange in both directions.

    In training, y = gamma · (x − mean) / √(variance + epsilon) + beta with the mean and variance of the batch over all
    axes but ``axis`` (equations 1 and 4), and the moving statistics follow them (equation 11). In inference, and
    wherever the layer is frozen by ``trainable = False``, the moving statistics take their place (equation 5). A batch
    in which nothing counts is normalized with the moving statistics; they never take in a value that is not finite.

    Statistics and weights are float32 or wider under every dtype policy; a float32 input of a 16-bit layer is
    normalized as it is, and only the output is rounded.

    Args:
        axis: The channel axis, or a tuple of several: then every combination of channels has statistics and weights of
            its own, in the order given.
        momentum: Weight of the old value in the moving statistics, in [0, 1]; None makes them the average of all
            batches, for which the layer keeps their count as one more weight.
        epsilon: Added to the variance, not negative. With 0 a constant batch gives beta (equation 14).
        center: Whether to add ``beta``.
        scale: Whether to multiply by ``gamma``.
        beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer: As in Keras.
        beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint: As in Keras.
        renorm: Whether to correct the batch's statistics towards those of earlier batches (equation 8).
        renorm_clipping: Bounds of that correction, any of ``rmin``, ``rmax`` and ``dmax``.
        renorm_momentum: Weight of the old value in the statistics of earlier batches, in [0, 1].
        synchronized: Whether the replicas of a ``tf.distribute`` strategy normalize with the statistics of all their
            batches together; otherwise each normalizes with those of its own. The moving statistics are those of the
            whole batch either way, and equal on all replicas. The README says what that costs.
        unbiased_variance: Whether the moving variance follows the unbiased variance, PyTorch's convention.
        virtual_batch_size: In training, normalize groups of this many samples separately (ghost batches); the last
            group may be smaller. The moving statistics are those of the whole batch.
        activation: None, "relu" or "leaky_relu", which is applied to the output as ``keras.layers.Activation`` would.
            TensorFlow can join "relu" with the normalization. With "leaky_relu" a training step in a graph keeps the
            output alone, for itself and for the next layer, where the two layers apart keep three tensors of its size
            (equation 10); so it is where the fused kernel serves, on CPUs and without a mask.
        engine: How to compute: "auto", "closed_form", or "fused".
        **kwargs: ``name``, ``dtype``, ``trainable``.

    Call arguments:
        inputs: Tensor of rank 2 or more.
        training: Whether to normalize with the statistics of the batch.
        mask: Which elements count in the statistics; every element is normalized. Boolean, or finite weights, those
            below 0 and NaN as 0; shaped like the inputs without ``axis``, or with ones there; a lower rank broadcasts
            over the last axes. A mask that Keras propagates with the inputs covers their leading axes instead, and one
            that you pass beside it, of the same shape, is taken for it: give yours ones along ``axis``. The value of an
            element that does not count, NaN and infinity included, influences no other output; where it has a gradient
            of its own and is finite, it takes part in the gradients as equation 4 says.

    Raises:
        ValueError, TypeError: an argument is outside of its range, or options exclude each other.

    Source: Ioffe and Szegedy, "Batch Normalization" (2015), Algorithms 1 and 2; Ioffe, "Batch Renormalization" (2017).

    >>> layer = BatchNormalization()
    >>> y = layer(np.array([[0.0], [2.0]]), training=True)
    >>> print(layer.moving_mean.numpy())
    [0.01]
    """

    def __init__(
        self,
        axis: int | tuple[int, ...] = -1,
        momentum: float | None = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: dict[str, float] | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        *,
        unbiased_variance: bool = False,
        virtual_batch_size: int | None = None,
        activation: str | None = None,
        engine: str = "auto",
        **kwargs: Any,
    ) -> None:
        axis = arguments.axis(axis)
        arguments.flags(center=center, scale=scale, renorm=renorm)
        arguments.flags(synchronized=synchronized, unbiased_variance=unbiased_variance)
        arguments.momentum("momentum", momentum, optional=True)
        arguments.momentum("renorm_momentum", renorm_momentum)
        arguments.epsilon(epsilon)
        arguments.renorm_clipping(renorm_clipping)
        arguments.virtual_batch_size(virtual_batch_size, axis, synchronized=synchronized, renorm=renorm)
        arguments.activation(activation)
        selection.check_name(engine)
        super().__init__(
            # The parent takes one axis and a number for the momentum; both are set anew below.
            *(-1, 0.0, epsilon, center, scale),
            *(beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer),
            *(beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint),
            *(renorm, renorm_clipping, renorm_momentum, synchronized),
            **kwargs,
        )
        arguments.compute_dtype(self.compute_dtype)
        self.axis = axis
        self._axes = arguments.axes(axis)
        self.momentum = None if momentum is None else float(momentum)
        self.unbiased_variance = unbiased_variance
        self.virtual_batch_size = virtual_batch_size
        self.activation = activation
        self.engine = engine
        # Keras would round a float32 input of a 16-bit layer before the layer sees it; `call` casts.
        self.autocast = False

    def build(self, input_shape: Any) -> None:
        shape = tf.TensorShape(input_shape)
        self._channels = known_channels(shape, self._axes)
        # None: that of the first call, as for a layer from PyTorch, which may not know it.
        self._rank: int | None = shape.rank
        weight = functools.partial(
            self.add_weight,
            shape=self._channels,
            dtype=keras.backend.result_type(self.variable_dtype, "float32"),
            autocast=False,
        )
        statistic = functools.partial(weight, trainable=False)
        if self.scale:
            self.gamma = weight(
                name="gamma",
                initializer=self.gamma_initializer,
                regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint,
            )
        if self.center:
            self.beta = weight(
                name="beta",
                initializer=self.beta_initializer,
                regularizer=self.beta_regularizer,
                constraint=self.beta_constraint,
            )
        self.moving_mean = statistic(name="moving_mean", initializer=self.moving_mean_initializer)
        self.moving_variance = statistic(name="moving_variance", initializer=self.moving_variance_initializer)
        if self.renorm:
            self.moving_stddev = statistic(name="moving_stddev", initializer=self._initial_stddev)
            self.renorm_mean = statistic(name="renorm_mean", initializer=self.moving_mean_initializer)
            self.renorm_stddev = statistic(name="renorm_stddev", initializer=self._initial_stddev)
        if self.momentum is None:
            self.update_count = statistic(name="update_count", initializer="zeros")
        # Without those that a class derived from this one may add.
        self._own_weights = list(self.weights)

    def _initial_stddev(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return tf.sqrt(self.moving_variance_initializer(shape, dtype=dtype))

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        x = self._checked(inputs)
        # Every variable is read once, so that its new value depends on that very read: TensorFlow's graph optimizer has
        # been seen to let a second read, ordered before the assignment by a control dependency alone, come after it.
        state = {weight.name: _read(weight, statistics_dtype(x.dtype)) for weight in self._own_weights}
        if not self._uses_batch(training):
            return tf.cast(self._activated(self._normalize_with_moving(x, state)), self.compute_dtype)
        weights = masking.weights_of(mask, inputs, x, self._axes)
        y, batch, moments = self._normalize_with_batch(x, state, weights, masking.is_propagated(mask, inputs))
        # Last: a call that fails on the way leaves the state as it was.
        if not recomputation.is_running():
            self._update(state, batch, moments)
        return tf.cast(y, self.compute_dtype)

    def _uses_batch(self, training: bool | None) -> bool:
        """Whether a call normalizes with the statistics of its batch."""
        return bool(training and self.trainable)

    def _moving(self, state: State) -> Fallback:
        return Fallback(state["moving_mean"], state["moving_variance"])

    def _gamma_and_beta(self, state: State) -> tuple[tf.Tensor, tf.Tensor]:
        gamma = state["gamma"] if self.scale else tf.ones_like(state["moving_mean"])
        beta = state["beta"] if self.center else tf.zeros_like(state["moving_mean"])
        return gamma, beta

    def _normalize_with_moving(self, x: tf.Tensor, state: State) -> tf.Tensor:
        """y by the moving statistics (equation 5)."""
        arguments = (x, *self._moving(state), *self._gamma_and_beta(state))
        request = self._request(x.shape, x.dtype, training=False, jit_compile=xla.compiles())
        if selection.choose(self.engine, request).engine == "fused":
            return fused.inference(*arguments, epsilon=self.epsilon)
        batch = TensorBatch(x, self._axes, self._channels)
        return closed_form.inference(batch, *arguments, axes=self._axes, epsilon=self.epsilon)

    def _normalize_with_batch(
        self, x: tf.Tensor, state: State, weights: tf.Tensor | None, is_propagated: bool
    ) -> tuple[tf.Tensor, TensorBatch, Moments]:
        """y by the statistics of the batch (equations 1 and 8), the batch that these are of, and these."""
        batch = TensorBatch(x, self._axes, self._channels, weights)
        gamma, beta = self._gamma_and_beta(state)
        request = self._request(
            x.shape,
            x.dtype,
            mask=weights is not None,
            channel_weights=weights is not None and any(weights.shape[a] != 1 for a in self._axes),
            jit_compile=xla.compiles(),
        )
        engine = selection.choose(self.engine, request).engine
        if self.synchronized and replicas.several():
            batch = replicas.WholeBatch(batch, batch.moments(batch.elements(x)))
        fallback = masking.fallback(self._moving(state), batch, propagated=is_propagated)
        options = {"epsilon": self.epsilon, "fallback": fallback}
        if self.virtual_batch_size is None:
            reference = moving_state.reference(state, self.renorm_clipping) if self.renorm else None
            y, moments = functional.normalize_batch(engine, batch, x, gamma, beta, reference=reference, **options)
        else:
            y, moments = ghost_batches.normalize_groups(
                self.virtual_batch_size, x, gamma, beta, axes=self._axes, weights=weights, **options
            )
        if self.activation == "leaky_relu" and from_output.serves(engine, mask=weights is not None):
            y = from_output.leaky_relu(batch, x, y, moments, gamma, beta, epsilon=self.epsilon)
        else:
            y = self._activated(y)
        if not self.synchronized and replicas.several():
            batch = replicas.WholeBatch(batch, Moments(*(batch.channel(value) for value in moments)))
            moments = batch.statistics
        return y, batch, moments

    def _activated(self, y: tf.Tensor) -> tf.Tensor:
        if self.activation == "relu":
            return tf.nn.relu(y)
        return y if self.activation is None else tf.nn.leaky_relu(y, from_output.SLOPE)

    def _update(self, state: State, batch: TensorBatch, moments: Moments) -> None:
        """Let the moving statistics follow the batch (equation 11)."""
        new = moving_state.renewed(
            state,
            batch,
            moments.mean,
            moments.variance,
            momentum=self.momentum,
            unbiased_variance=self.unbiased_variance,
            renorm_momentum=self.renorm_momentum if self.renorm else None,
            epsilon=self.epsilon,
        )
        for name, value in new.items():
            getattr(self, name).assign(value)

    def _request(self, shape: Any, dtype: tf.DType, **call: bool) -> Request:
        """What this layer asks of an engine for inputs of a shape and dtype; ``call`` is what else the call says."""
        return Request(
            tuple(shape),
            self._axes,
            dtype,
            self.epsilon,
            renorm=self.renorm,
            ghost_batches=self.virtual_batch_size is not None,
            synchronized=self.synchronized and replicas.number() > 1,
            **call,
        )

    def engine_for(
        self,
        input_shape: Any,
        dtype: Any = None,
        training: bool = True,
        mask: bool = False,
        jit_compile: bool = False,
    ) -> Choice:
        """The engine that would serve a call, and the reason in words, as ``(engine, reason)``.

        Args:
            input_shape: Shape of the inputs; None where a size is unknown.
            dtype: Of the inputs as they are normalized; by default the layer's compute dtype.
            training: Whether the statistics of the batch would be used.
            mask: Whether there would be a mask.
            jit_compile: Whether XLA would compile the call.

        Raises:
            ValueError: the layer's own ``engine`` cannot serve it, or the shape has no such axis.

        >>> BatchNormalization().engine_for((32, 56, 56, 64)).engine
        'fused'
        >>> BatchNormalization().engine_for((32, 10)).reason
        'for about 320 elements the calls of the fused kernel cost more'
        """
        shape = tf.TensorShape(input_shape)
        check_shape(shape, self._axes)
        dtype = tf.as_dtype(self.compute_dtype if dtype is None else dtype)
        request = self._request(shape, dtype, training=self._uses_batch(training), mask=mask, jit_compile=jit_compile)
        return selection.choose(self.engine, request)

    def _checked(self, inputs: Any) -> tf.Tensor:
        x = as_real("inputs", inputs, self.compute_dtype)
        if self._rank is None:
            check_shape(x.shape, self._axes)
            self._rank = x.shape.rank
        return as_built(x, self.name, self._rank, self._axes, self._channels)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs."""
        check_shape(tf.TensorShape(input_shape), self._axes)
        return input_shape

    def get_build_config(self) -> dict[str, Any] | None:
        config = super().get_build_config()
        if config is None or self._rank == len(config["input_shape"]):
            return config
        shape = tf.TensorShape([None] * (self._rank or len(config["input_shape"])))
        known = with_channels(shape, self._axes, self._channels)
        return {"input_shape": known, "any_rank": True} if self._rank is None else {"input_shape": known}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build for the ``input_shape`` of the config; with ``any_rank`` the first call decides about the rank."""
        super().build_from_config(config)
        if config.get("any_rank"):
            self._rank = None

    def rematerialized_call(self, layer_call: Callable, *args: Any, **kwargs: Any) -> Callable:
        """The call itself: only its input is kept for backward, and running it twice would update the state twice."""
        return layer_call

    def load_own_variables(self, store: Any) -> None:
        """Load the weights of this layer, or those of one that differs from it by ``renorm`` alone.

        Into a layer with ``renorm`` the statistics of earlier batches start from the moving statistics; into one
        without it, they are left out.
        """
        super().load_own_variables(moving_state.of_store(self, store))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        own = {
            "unbiased_variance": self.unbiased_variance,
            "virtual_batch_size": self.virtual_batch_size,
            "activation": self.activation,
            "engine": self.engine,
        }
        defaults = {"unbiased_variance": False, "virtual_batch_size": None, "activation": None, "engine": "auto"}
        # What has its default is left out, so that the built-in layer reads the configs that it can express.
        return {**config, **{name: value for name, value in own.items() if value != defaults[name]}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "BatchNormalization":
        """A layer from its config, or from one that the built-in layer of an older Keras or TensorFlow wrote."""
        return super().from_config({name: value for name, value in config.items() if name not in arguments.LEGACY})


def _read(variable: keras.Variable, dtype: tf.DType) -> tf.Tensor:
    # Not tf.cast alone: of a variable that has the dtype it returns the variable, which is then read at every use.
    return tf.cast(tf.convert_to_tensor(variable.value), dtype)
