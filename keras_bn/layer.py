"""``BatchNormalization``, the Keras layer."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_bn import arguments, functional, ghost_batches, masking, moving_state, replicas, xla
from keras_bn.batch import TensorBatch
from keras_bn.engines import closed_form, fused, selection
from keras_bn.engines.selection import Choice, Request
from keras_bn.formulas.renormalization import Reference
from keras_bn.formulas.training import Fallback, Moments
from keras_bn.tensors import as_tensor, check_shape, with_channels


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
        engine: str = "auto",
        **kwargs: Any,
    ) -> None:
        axis = arguments.axis(axis)
        arguments.flags(
            center=center,
            scale=scale,
            renorm=renorm,
            synchronized=synchronized,
            unbiased_variance=unbiased_variance,
        )
        arguments.momentum("momentum", momentum, optional=True)
        arguments.momentum("renorm_momentum", renorm_momentum)
        arguments.epsilon(epsilon)
        arguments.renorm_clipping(renorm_clipping)
        arguments.virtual_batch_size(virtual_batch_size, axis, synchronized=synchronized, renorm=renorm)
        selection.check_name(engine)
        # The parent takes one axis and a number for the momentum; both are set anew below.
        super().__init__(
            axis=-1,
            momentum=0.0,
            epsilon=epsilon,
            center=center,
            scale=scale,
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            moving_mean_initializer=moving_mean_initializer,
            moving_variance_initializer=moving_variance_initializer,
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint,
            gamma_constraint=gamma_constraint,
            renorm=renorm,
            renorm_clipping=renorm_clipping,
            renorm_momentum=renorm_momentum,
            synchronized=synchronized,
            **kwargs,
        )
        if not tf.as_dtype(self.compute_dtype).is_floating:
            raise TypeError(
                f"dtype must be floating-point. Received: dtype={self.compute_dtype!r}. Inputs of whole numbers are "
                "converted by themselves."
            )
        self.axis = axis
        self._axes = arguments.axes(axis)
        self.momentum = None if momentum is None else float(momentum)
        self.unbiased_variance = unbiased_variance
        self.virtual_batch_size = virtual_batch_size
        self.engine = engine
        # Keras would round a float32 input of a 16-bit layer before the layer sees it; `call` casts.
        self.autocast = False

    def build(self, input_shape: Any) -> None:
        shape = tf.TensorShape(input_shape)
        check_shape(shape, self._axes)
        channels = tuple(shape[a] for a in self._axes)
        if None in channels:
            raise ValueError(
                f"the sizes along axis={self.axis} must be known. Received: input_shape={tuple(input_shape)}. "
                "State them in the model's Input."
            )
        # None: that of the first call, as for a layer from PyTorch, which may not know it.
        self._rank: int | None = shape.rank
        self._channels = channels
        self._dtype = keras.backend.result_type(self.variable_dtype, "float32")
        if self.scale:
            self.gamma = self._weight(
                "gamma", self.gamma_initializer, self.gamma_regularizer, self.gamma_constraint, trainable=True
            )
        if self.center:
            self.beta = self._weight(
                "beta", self.beta_initializer, self.beta_regularizer, self.beta_constraint, trainable=True
            )
        self.moving_mean = self._weight("moving_mean", self.moving_mean_initializer)
        self.moving_variance = self._weight("moving_variance", self.moving_variance_initializer)
        if self.renorm:
            self.moving_stddev = self._weight("moving_stddev", self._initial_stddev)
            self.renorm_mean = self._weight("renorm_mean", _copy(self.moving_mean_initializer))
            self.renorm_stddev = self._weight("renorm_stddev", self._initial_stddev)
        if self.momentum is None:
            self.update_count = self._weight("update_count", "zeros")

        self._state = [weight for weight in self.weights if weight.name not in ("gamma", "beta")]

    def _weight(
        self, name: str, initializer: Any, regularizer: Any = None, constraint: Any = None, trainable: bool = False
    ) -> keras.Variable:
        return self.add_weight(
            shape=self._channels,
            name=name,
            dtype=self._dtype,
            initializer=initializer,
            regularizer=regularizer,
            constraint=constraint,
            trainable=trainable,
            autocast=False,
        )

    def _initial_stddev(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return tf.sqrt(_copy(self.moving_variance_initializer)(shape, dtype=dtype))

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        x = self._checked(inputs)
        uses_batch = self._uses_batch(training)
        weights = masking.weights_of(mask, inputs, x, self._axes) if uses_batch else None
        batch = TensorBatch(x, self._axes, self._channels, weights)
        gamma, beta = self._gamma_and_beta(batch.dtype)
        # Every variable is read once, so that its new value depends on that very read: TensorFlow's graph optimizer has
        # been seen to let a second read, ordered before the assignment by a control dependency alone, come after it.
        state = {variable.name: _read(variable, batch.dtype) for variable in self._state}
        moving = Fallback(state["moving_mean"], state["moving_variance"])
        engine = self._engine(x, uses_batch, mask, weights)
        if not uses_batch:
            if engine == "fused":
                y = fused.inference(x, *moving, gamma, beta, epsilon=self.epsilon)
            else:
                y = closed_form.inference(batch, x, *moving, gamma, beta, epsilon=self.epsilon)
            return tf.cast(y, self.compute_dtype)
        several = replicas.several()
        if several and self.synchronized:
            batch = replicas.WholeBatch(batch, batch.moments(batch.elements(x)))
        reference = self._reference(state) if self.renorm else None
        fallback = masking.fallback(moving, batch, propagated=masking.is_propagated(mask, inputs))
        options = {"epsilon": self.epsilon, "fallback": fallback}
        if self.virtual_batch_size is None:
            y, moments = functional.train(engine, batch, x, gamma, beta, reference=reference, **options)
        else:
            y, moments = ghost_batches.train(
                self.virtual_batch_size, x, gamma, beta, axes=self._axes, weights=weights, **options
            )
        if several and not self.synchronized:
            batch = replicas.WholeBatch(batch, Moments(*(batch.channel(value) for value in moments)))
            moments = batch.statistics
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
        # All at once and last: a call that fails on the way leaves the state as it was.
        for name, value in new.items():
            getattr(self, name).assign(value)
        return tf.cast(y, self.compute_dtype)

    def _uses_batch(self, training: bool | None) -> bool:
        """Whether a call normalizes with the statistics of its batch."""
        return bool(training and self.trainable)

    def _engine(self, x: tf.Tensor, uses_batch: bool, mask: Any, weights: tf.Tensor | None) -> str:
        per_channel = weights is not None and any(weights.shape[a] != 1 for a in self._axes)
        return self._choose(
            tuple(x.shape), x.dtype, uses_batch, mask is not None, xla.compiles(), channel_weights=per_channel
        ).engine

    def _gamma_and_beta(self, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
        gamma = _read(self.gamma, dtype) if self.scale else tf.ones(self._channels, dtype)
        beta = _read(self.beta, dtype) if self.center else tf.zeros(self._channels, dtype)
        return gamma, beta

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
        return self._choose(tuple(shape), dtype, self._uses_batch(training), mask, jit_compile)

    def _choose(
        self,
        shape: tuple[int | None, ...],
        dtype: tf.DType,
        training: bool,
        mask: bool,
        jit_compile: bool,
        *,
        channel_weights: bool = False,
    ) -> Choice:
        request = Request(
            shape,
            self._axes,
            dtype,
            self.epsilon,
            training=training,
            mask=mask,
            channel_weights=channel_weights,
            renorm=self.renorm,
            ghost_batches=self.virtual_batch_size is not None,
            synchronized=self.synchronized and replicas.number() > 1,
            jit_compile=jit_compile,
        )
        return selection.choose(self.engine, request)

    def _checked(self, inputs: Any) -> tf.Tensor:
        x = as_tensor("inputs", inputs)
        if x.dtype.is_complex or not (x.dtype.is_floating or x.dtype.is_integer or x.dtype.is_bool):
            raise TypeError(f"batch normalization needs real numbers. Received: inputs of dtype {x.dtype.name}.")
        narrow = tf.as_dtype(self.compute_dtype).size < 4
        if not narrow:
            x = tf.cast(x, self.compute_dtype)
        elif not (x.dtype.is_floating and x.dtype.size < 4):
            x = tf.cast(x, tf.float32)
        if self._rank is None:
            check_shape(x.shape, self._axes)
            self._rank = x.shape.rank
        if x.shape.rank is None:
            x = tf.ensure_shape(x, [None] * self._rank)
        if x.shape.rank != self._rank or any(
            x.shape[a] not in (None, size) for a, size in zip(self._axes, self._channels, strict=True)
        ):
            raise ValueError(
                f"{self.name} was built for inputs of rank {self._rank} with the shape {self._channels} along "
                f"axis={self.axis}. Received: inputs of shape {x.shape}. Use another layer for inputs of another shape."
            )
        # Of sizes that the graph does not know, the channels' must be right where it runs.
        if any(x.shape[a] is None for a in self._axes):
            x = tf.ensure_shape(x, with_channels(x.shape, self._axes, self._channels))
        return x

    def _reference(self, state: dict[str, tf.Tensor]) -> Reference:
        bounds = self.renorm_clipping or {}
        return Reference(
            state["renorm_mean"],
            state["renorm_stddev"],
            r_min=bounds.get("rmin"),
            r_max=bounds.get("rmax"),
            d_max=bounds.get("dmax"),
        )

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
        plain = self.scale + self.center + 2
        if self.momentum is not None and self.renorm and len(store) == plain:
            for i, variable in enumerate(self.weights[:plain]):
                variable.assign(store[str(i)])
            moving_state.start_references(self)
        elif self.momentum is not None and not self.renorm and len(store) == plain + 3:
            super().load_own_variables({str(i): store[str(i)] for i in range(plain)})
        else:
            super().load_own_variables(store)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        own = {
            "unbiased_variance": self.unbiased_variance,
            "virtual_batch_size": self.virtual_batch_size,
            "engine": self.engine,
        }
        defaults = {"unbiased_variance": False, "virtual_batch_size": None, "engine": "auto"}
        # What has its default is left out, so that the built-in layer reads the configs that it can express.
        return {**config, **{name: value for name, value in own.items() if value != defaults[name]}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "BatchNormalization":
        """A layer from its config, or from one that the built-in layer of an older Keras or TensorFlow wrote."""
        return super().from_config({name: value for name, value in config.items() if name not in arguments.LEGACY})


def _read(variable: keras.Variable, dtype: tf.DType) -> tf.Tensor:
    # Not tf.cast alone: of a variable that has the dtype it returns the variable, which is then read at every use.
    return tf.cast(tf.convert_to_tensor(variable.value), dtype)


def _copy(initializer: Any) -> Any:
    """An initializer that draws the same values once more."""
    if isinstance(initializer, keras.initializers.Initializer):
        return initializer.clone()
    return initializer
