"""``BatchNormalization``, the Keras layer."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_bn import (
    arguments,
    functional,
    ghost_batches,
    keras_internals,
    masking,
    moving_state,
    old_files,
    ragged,
    recomputation,
    renorm_bounds,
    replicas,
    xla,
)
from keras_bn.batch import TensorBatch, statistics_dtype
from keras_bn.engines import closed_form, from_output, fused, selection
from keras_bn.engines.selection import Choice, Request
from keras_bn.formulas.training import Fallback, Moments
from keras_bn.moving_state import State
from keras_bn.saved_layer import SavedLayer
from keras_bn.tensors import as_built, as_flag, as_real, check_shape, known_channels, shape_of_one


@keras.saving.register_keras_serializable(package="keras_bn", name="BatchNormalization")
class BatchNormalization(SavedLayer):
    """Batch normalization whose backward pass is the proved closed form.

    A drop-in for ``keras.layers.BatchNormalization``: the same arguments, defaults and weights in the same order, so
    that weights files exchange in both directions.

    In training, y = gamma · (x − mean) / √(variance + epsilon) + beta with the mean and variance of the batch over all
    axes but ``axis`` (equations 1 and 4), and the moving statistics follow them (equation 11). In inference, and
    wherever the layer is frozen by ``trainable = False``, the moving statistics take their place (equation 5). A batch
    in which no element counts is normalized with the moving statistics. The moving statistics never take in a value
    that is not finite.

    Statistics and weights are float32 or wider under every dtype policy; a float32 input of a 16-bit layer is
    normalized as it is, and only the output is rounded.

    Args:
        axis: The channel axis, or a tuple of several. With several, every combination of channels has its own
            statistics and weights, whose axes have the order given.
        momentum: Weight of the old value in the moving statistics, in [0, 1]. None makes them the average of all
            batches; the layer then counts its batches in one more weight.
        epsilon: Added to the variance, not negative. With 0 a constant batch gives beta (equation 14).
        center: Whether to add ``beta``.
        scale: Whether to multiply by ``gamma``.
        beta_initializer, …, gamma_constraint: As in Keras.
        renorm: Whether to correct the batch's statistics towards those of earlier batches (equation 8).
        renorm_clipping: Bounds of that correction, any of ``rmin``, ``rmax`` and ``dmax``: numbers, scalar variables,
            or schedules of ``keras.optimizers.schedules`` over the training steps of the layer.
        renorm_momentum: Weight of the old value in the statistics of earlier batches, in [0, 1].
        synchronized: Whether the replicas of a ``tf.distribute`` strategy normalize with the statistics of all their
            batches together; otherwise each normalizes with the statistics of its own batch. In both cases the moving
            statistics follow the whole batch and are equal on all replicas. The README says what that costs.
        statistics: Which statistics normalize. "auto" chooses as described above. "moving" always takes the moving
            statistics, and never updates them. "batch" always takes those of the batch; in training it also updates
            the moving statistics, even if the layer is frozen. You may set it later; then compile the model again.
        zero_debias: Whether to remove the initial values from the moving statistics, as Adam does, so that inference is
            right after the first steps (equation 11). The layer then counts its batches, too.
        unbiased_variance: Whether the moving variance follows the unbiased variance, PyTorch's convention.
        virtual_batch_size: In training, normalize groups of this many samples separately (ghost batches); the last
            group may be smaller. The moving statistics are those of the whole batch.
        activation: None, "relu" or "leaky_relu", applied to the output as ``keras.layers.Activation`` would. Where the
            fused kernel serves on CPUs, a training step with "leaky_relu" keeps one tensor, the output, and shares it
            with the next layer. Two separate layers keep three tensors of that size (equation 10).
        engine: How to compute: "auto", "closed_form", "products", or "fused".
        **kwargs: ``name``, ``dtype``, ``trainable``.

    Call arguments:
        inputs: Tensor of rank 2 or more, or a ragged tensor, whose ``flat_values`` are normalized.
        training: Whether to normalize with the statistics of the batch; in a graph it may be a tensor.
        mask: Which elements count in the statistics. Every element is normalized. An element that does not count
            influences no other output, even if it is NaN. The mask is boolean or holds finite weights; a weight that
            is negative or NaN counts as 0. A mask that you pass has the shape of the inputs without ``axis``, or with
            size 1 along ``axis``. If its rank is lower, it broadcasts over the last axes. A mask that Keras propagates
            with the inputs covers their leading axes instead. If you pass a mask of the same shape as a propagated one,
            the layer takes yours for the propagated one; to prevent this, give yours size 1 along ``axis``.

    Raises:
        ValueError, TypeError: an argument is out of range, or two options exclude each other.

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
        renorm_clipping: dict[str, Any] | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        *,
        statistics: str = "auto",
        zero_debias: bool = False,
        unbiased_variance: bool = False,
        virtual_batch_size: int | None = None,
        activation: str | None = None,
        engine: str = "auto",
        **kwargs: Any,
    ) -> None:
        # A config states several axes under this name, too.
        axis = kwargs.pop("axes", axis)
        arguments.epsilon(epsilon)  # before Keras makes a float of it
        # Each other option is checked as it is set.
        super().__init__(
            # The parent takes one axis, a number for the momentum, and numbers as bounds; these are set anew below.
            *(-1, 0.0, epsilon, center, scale),
            *(beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer),
            *(beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint),
            *(renorm, None, renorm_momentum, synchronized),
            **kwargs,
        )
        arguments.compute_dtype(self.compute_dtype)
        self.axis = axis
        self.momentum = momentum
        self.statistics = statistics
        self.renorm_clipping = renorm_clipping
        self.zero_debias = zero_debias
        self.unbiased_variance = unbiased_variance
        self.virtual_batch_size = virtual_batch_size
        self.activation, self.engine = activation, engine
        # Keras would round a float32 input of a 16-bit layer before the layer sees it; `call` casts.
        self.autocast = False

    def build(self, input_shape: Any) -> None:
        shape = shape_of_one("inputs", input_shape)
        self._settle_axis(shape.rank)
        self._channels = known_channels(shape, self._axes)
        self._rank = shape.rank
        dtype = keras.backend.result_type(self.variable_dtype, "float32")
        others = {id(variable) for variable in self.weights}
        weight = functools.partial(self.add_weight, shape=self._channels, dtype=dtype, autocast=False)
        statistic = functools.partial(weight, trainable=False)
        if self.scale:
            options = {"regularizer": self.gamma_regularizer, "constraint": self.gamma_constraint}
            self.gamma = weight(name="gamma", initializer=self.gamma_initializer, **options)
        if self.center:
            options = {"regularizer": self.beta_regularizer, "constraint": self.beta_constraint}
            self.beta = weight(name="beta", initializer=self.beta_initializer, **options)
        self.moving_mean = statistic(name="moving_mean", initializer=self.moving_mean_initializer)
        self.moving_variance = statistic(name="moving_variance", initializer=self.moving_variance_initializer)
        if self.renorm:
            self.moving_stddev = statistic(name="moving_stddev", initializer=self._initial_stddev)
            self.renorm_mean = statistic(name="renorm_mean", initializer=self.moving_mean_initializer)
            self.renorm_stddev = statistic(name="renorm_stddev", initializer=self._initial_stddev)
        if self.keeps_count:
            self.update_count = statistic(name="update_count", initializer="zeros")
        if self.renorm and renorm_bounds.follow_steps(self.renorm_clipping):
            self.renorm_step = statistic(name="renorm_step", shape=(), dtype="int64", initializer="zeros")
        # Without those that a class derived from this one may add, before or after.
        self._own_weights = [variable for variable in self.weights if id(variable) not in others]

    def _initial_stddev(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return tf.sqrt(self.moving_variance_initializer(shape, dtype=dtype))

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if isinstance(inputs, tf.RaggedTensor):
            rows, mask = ragged.rows(inputs, mask, self)
            return ragged.like(inputs, self.call(rows, training, mask))
        if mask is None and tf.is_tensor(training):  # where Keras leaves it to the layer to look for its mask
            mask = keras_internals.attached_mask(inputs)
        x = as_real("inputs", inputs, self.compute_dtype)
        x = as_built(x, self.name, self._settled_rank(x.shape), self._axes, self._channels)
        state = moving_state.read(self._own_weights, statistics_dtype(x.dtype))
        uses_batch, learns = self._phase(training)

        def train() -> tuple[tf.Tensor, State]:
            y, batch, moments = self._train(x, state, *masking.weights_of(mask, inputs, x, self._axes))
            return y, self._renewed(state, batch, moments) if learns is not False else {}

        def infer() -> tuple[tf.Tensor, State]:
            return self._infer(x, state), moving_state.kept(state) if learns is not False else {}

        if tf.is_tensor(uses_batch):
            y, new = replicas.branch(uses_batch, train, infer)
        else:
            y, new = train() if uses_batch else infer()
        # Last: a call that fails on the way leaves the state as it was.
        if not recomputation.is_running():
            for name, value in new.items():
                getattr(self, name).assign(tf.where(learns, value, state[name]) if tf.is_tensor(learns) else value)
        return tf.cast(y, self.compute_dtype)

    def _phase(self, training: Any) -> tuple[Any, Any]:
        """Whether a call normalizes with its batch, and whether the moving statistics learn from it."""
        training = as_flag(training)
        if self.statistics == "moving" or (self.statistics == "auto" and not self.trainable):
            return False, False
        return training if self.statistics == "auto" else True, training

    def _moving(self, state: State) -> Fallback:
        return Fallback(state["moving_mean"], state["moving_variance"])

    def _gamma_and_beta(self, state: State) -> tuple[tf.Tensor, tf.Tensor]:
        gamma = state["gamma"] if self.scale else tf.ones_like(state["moving_mean"])
        beta = state["beta"] if self.center else tf.zeros_like(state["moving_mean"])
        return gamma, beta

    def _infer(self, x: tf.Tensor, state: State) -> tf.Tensor:
        """y, normalized with the moving statistics (equation 5)."""
        moving = self._moving(state)
        point = (x, *moving, *self._gamma_and_beta(state))
        # The kernel holds the statistics constant: where a tape follows them now, the formula must compute.
        varies = not isinstance(self.moving_mean.value, tf.Variable) or xla.differentiates(*moving)
        engine = self._choice(x.shape, x.dtype, training=False, jit_compile=xla.compiles()).engine
        if engine == "fused" and not varies:
            y = fused.inference(*point, epsilon=self.epsilon)
        else:
            batch = TensorBatch(x, self._axes, self._channels)
            y = closed_form.inference(batch, *point, axes=self._axes, epsilon=self.epsilon)
        return from_output.activate(y, self.activation)

    def _train(
        self, x: tf.Tensor, state: State, weights: tf.Tensor | None, is_propagated: bool
    ) -> tuple[tf.Tensor, TensorBatch, Moments]:
        """y, the batch whose statistics normalize (equations 1 and 8), and these statistics."""
        batch = TensorBatch(x, self._axes, self._channels, weights)
        gamma, beta = self._gamma_and_beta(state)
        by_channel = weights is not None and any(weights.shape[a] != 1 for a in self._axes)
        call = {"mask": weights is not None, "channel_weights": by_channel, "jit_compile": xla.compiles()}
        engine = self._choice(x.shape, x.dtype, eager=tf.executing_eagerly(), **call).engine
        if self.synchronized and replicas.several():
            batch = replicas.WholeBatch(batch, batch.moments(batch.elements(x)))
        fallback = masking.fallback(self._moving(state), batch, propagated=is_propagated)
        options = {"epsilon": self.epsilon, "fallback": fallback}
        if self.virtual_batch_size is None:
            reference = renorm_bounds.reference(state, self.renorm_clipping) if self.renorm else None
            y, moments = functional.normalize_batch(engine, batch, x, gamma, beta, reference=reference, **options)
        else:
            y, moments = ghost_batches.normalize_groups(
                self.virtual_batch_size, x, gamma, beta, axes=self._axes, weights=weights, **options
            )
        by_output = self.activation == "leaky_relu" and from_output.serves(engine, mask=weights is not None)
        if by_output and not xla.differentiates_forward(x, gamma, beta):
            y = from_output.leaky_relu(x, y, moments, gamma, beta, epsilon=self.epsilon)
        else:
            y = from_output.activate(y, self.activation)
        return y, batch, moments

    def _renewed(self, state: State, batch: TensorBatch, moments: Moments) -> State:
        """The state that follows the batch (equation 11)."""
        if not self.synchronized and replicas.several():
            batch = replicas.WholeBatch(batch, Moments(*(batch.channel(value) for value in moments)))
            moments = batch.statistics
        return moving_state.renewed(self, state, batch, moments)

    def _choice(self, shape: Any, dtype: tf.DType, **call: bool) -> Choice:
        """The engine for inputs of a shape and dtype; ``call`` is what else the call says."""
        request = Request(
            tuple(shape),
            self._axes,
            dtype,
            self.epsilon,
            renorm=self.renorm,
            ghost_batches=self.virtual_batch_size is not None,
            synchronized=self.synchronized and replicas.number() > 1,
            **call,
        )
        return selection.choose(self.engine, request)

    def engine_for(
        self,
        input_shape: Any,
        dtype: Any = None,
        training: bool = True,
        mask: bool = False,
        jit_compile: bool = False,
        eager: bool = False,
    ) -> Choice:
        """The engine that would serve a call, and the reason in words, as ``(engine, reason)``.

        Args:
            input_shape: Shape of the inputs; None where a size is unknown.
            dtype: Dtype in which the inputs are normalized; by default the layer's compute dtype.
            training, mask, jit_compile, eager: Whether the call is in training, has a mask, is compiled by XLA, and is
                made eagerly instead of in a graph.

        Raises:
            ValueError: the layer's ``engine`` does not support the call, or the shape lacks a channel axis.

        >>> BatchNormalization().engine_for((32, 56, 56, 64), mask=True).engine
        'fused'
        >>> BatchNormalization().engine_for((32, 10)).reason
        'for about 320 elements the calls of the other engines cost more'
        """
        shape = tf.TensorShape(input_shape)
        check_shape(shape, self._axes)
        dtype = tf.as_dtype(self.compute_dtype if dtype is None else dtype)
        call = {"training": self._phase(training)[0], "mask": mask, "jit_compile": jit_compile, "eager": eager}
        return self._choice(shape, dtype, **call)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs."""
        check_shape(tf.TensorShape(input_shape), self._axes)
        return input_shape

    def rematerialized_call(self, layer_call: Callable, *args: Any, **kwargs: Any) -> Callable:
        """The call, unchanged: it keeps only its input for backward, and a second run would update the state twice."""
        return layer_call

    def get_config(self) -> dict[str, Any]:
        config = super().get_config() | {"renorm_clipping": renorm_bounds.config(self.renorm_clipping)}
        if isinstance(self.axis, tuple):
            # The same again, because Keras' loader of .h5 files drops the list under the name "axis".
            config["axes"] = self.axis
        # What has its default is left out, so that the built-in layer reads the configs that it can express.
        own = {"statistics": "auto", "zero_debias": False, "unbiased_variance": False, "engine": "auto"}
        for name, default in {**own, "virtual_batch_size": None, "activation": None}.items():
            if getattr(self, name) != default:
                config[name] = getattr(self, name)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "BatchNormalization":
        """A layer from its config, or from one that an older Keras or TensorFlow wrote."""
        own = set(inspect.signature(cls).parameters) - set(inspect.signature(BatchNormalization).parameters)
        layer = super().from_config(old_files.modern_config(config, own, is_derived=cls is not BatchNormalization))
        layer._axis_counts_groups = layer.virtual_batch_size is not None and "synchronized" not in config
        return layer
