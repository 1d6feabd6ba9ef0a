"""``fold``: the same outputs without the layers, and an honest account of what stays."""

import re

import keras
import numpy as np
import pytest

from keras_bn import BatchNormalization, convert, fold
from tests import applications

L = keras.layers
KINDS = [L.BatchNormalization, BatchNormalization]


def move_away(model):
    """Weights unlike those of a new model; variances stay positive."""
    rng = np.random.default_rng(3)
    for variable in model.weights:
        if "seed" not in variable.path:
            variable.assign(
                rng.uniform(0.5, 1.5, variable.shape)
                * (rng.choice([-1, 1], variable.shape) if "variance" not in variable.path else 1)
            )
    return model


def folded_alike(model, x, tolerance=1e-5):
    """The report, once the outputs are found to be the same and the argument unchanged."""
    before = [value.copy() for value in model.get_weights()]
    y = model(x)
    new, report = fold(model, return_report=True)
    assert applications.error(keras.tree.flatten(new(x)), keras.tree.flatten(y)) < tolerance
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    assert not {id(v) for v in new.variables} & {id(v) for v in model.variables}
    kept = [layer for layer in new._flatten_layers() if isinstance(layer, L.BatchNormalization)]
    assert len(kept) == len(report.kept)
    return report


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("MobileNetV2", 52),
        pytest.param("EfficientNetB0", 49, marks=pytest.mark.slow),
        pytest.param("ResNet50", 53, marks=pytest.mark.slow),
        pytest.param("DenseNet121", 59, marks=pytest.mark.slow),
        pytest.param("Xception", 40, marks=pytest.mark.slow),
    ],
)
def test_applications(name, count):
    model = applications.build(name)
    report = folded_alike(model, applications.images(name).astype("float32"))
    assert len(report.folded) == count
    assert all(fold.reason for fold in report.kept)


# (the layer, the shape of an input, channels first)
LINEAR = {
    "Dense": (lambda **o: L.Dense(4, **o), (3,)),
    "Dense of rank 3": (lambda **o: L.Dense(4, **o), (5, 3)),
    "Conv1D": (lambda **o: L.Conv1D(4, 3, **o), (8, 3)),
    "Conv2D": (lambda **o: L.Conv2D(4, (2, 3), strides=2, **o), (8, 8, 3)),
    "grouped Conv2D": (lambda **o: L.Conv2D(6, 3, groups=2, **o), (8, 8, 4)),
    "dilated Conv2D": (lambda **o: L.Conv2D(6, 3, dilation_rate=2, **o), (8, 8, 4)),
    "Conv3D": (lambda **o: L.Conv3D(4, 2, **o), (4, 4, 4, 3)),
    "DepthwiseConv1D": (lambda **o: L.DepthwiseConv1D(3, depth_multiplier=2, **o), (8, 3)),
    "DepthwiseConv2D": (lambda **o: L.DepthwiseConv2D(3, depth_multiplier=2, **o), (8, 8, 3)),
    "SeparableConv1D": (lambda **o: L.SeparableConv1D(4, 3, depth_multiplier=2, **o), (8, 3)),
    "SeparableConv2D": (lambda **o: L.SeparableConv2D(4, 3, depth_multiplier=2, **o), (8, 8, 3)),
    "Conv1DTranspose": (lambda **o: L.Conv1DTranspose(4, 3, strides=2, **o), (8, 3)),
    "Conv2DTranspose": (lambda **o: L.Conv2DTranspose(4, 3, strides=2, **o), (8, 8, 3)),
    "Conv3DTranspose": (lambda **o: L.Conv3DTranspose(4, 2, **o), (4, 4, 4, 3)),
}


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("kind", KINDS)
def test_after_every_kind_of_linear_layer(kind, name, use_bias):
    make, shape = LINEAR[name]
    padding = {} if "Dense" in name else {"padding": "same" if "Transpose" not in name else "valid"}
    model = move_away(keras.Sequential([keras.Input(shape), make(use_bias=use_bias, **padding), kind(), L.ReLU()]))
    x = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    assert len(folded_alike(model, x).folded) == 1


@pytest.mark.parametrize("name", LINEAR)
def test_before_every_kind_of_linear_layer(name):
    make, shape = LINEAR[name]
    model = move_away(keras.Sequential([keras.Input(shape), BatchNormalization(), make(activation="relu")]))
    x = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    [fold] = folded_alike(model, x).folds
    assert (fold.into is None) == ("Transpose" in name)
    assert fold.into or "pads with zeros" in fold.reason
    # Without a shift there is nothing that padding would leave out.
    norm = model.layers[0]
    norm.beta.assign(norm.gamma * norm.moving_mean / np.sqrt(norm.moving_variance + norm.epsilon) * 0)
    norm.moving_mean.assign(0 * norm.moving_mean.numpy())
    assert len(folded_alike(model, x).folded) == 1


def test_padding_before_which_a_shift_is_not_exact():
    layers = [BatchNormalization(name="norm"), L.Conv2D(2, 3, padding="same")]
    model = move_away(keras.Sequential([keras.Input((5, 5, 3)), *layers]))
    [fold] = folded_alike(model, np.ones((2, 5, 5, 3), "float32")).kept
    assert "pads with zeros" in fold.reason


# (the layer, the shape of an input): of kernel size 1, which needs no padding at any stride
POINTWISE = {
    "Conv1D, causal": (lambda: L.Conv1D(4, 1, padding="causal"), (8, 3)),
    "Conv2D": (lambda: L.Conv2D(4, 1, padding="same"), (8, 7, 3)),
    "Conv2D with strides": (lambda: L.Conv2D(4, 1, strides=3, padding="same"), (8, 7, 3)),
    "DepthwiseConv2D": (lambda: L.DepthwiseConv2D(1, strides=2, padding="same"), (8, 7, 3)),
    "SeparableConv1D": (lambda: L.SeparableConv1D(4, 1, padding="same"), (8, 3)),
    "Conv3D": (lambda: L.Conv3D(4, 1, strides=2, padding="same"), (4, 5, 4, 3)),
}


@pytest.mark.parametrize("name", POINTWISE)
def test_padding_that_adds_nothing(name):
    make, shape = POINTWISE[name]
    model = move_away(keras.Sequential([keras.Input(shape), BatchNormalization(name="norm"), make()]))
    x = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    assert len(folded_alike(model, x).folded) == 1


@pytest.mark.parametrize("kernel", [(1, 2), 2])
def test_padding_that_depends_on_the_size(kernel):
    """Where the size is even, none; but the size is unknown."""
    layers = [BatchNormalization(name="norm"), L.Conv2D(2, kernel, strides=2, padding="same")]
    model = move_away(keras.Sequential([keras.Input((None, None, 3)), *layers]))
    assert "pads with zeros" in folded_alike(model, np.ones((2, 5, 5, 3), "float32")).kept[0].reason


def test_on_both_sides_of_one_layer_and_through_identities():
    layers = [BatchNormalization(), L.Dropout(0.5), L.Conv2D(4, 3), L.Activation("linear"), BatchNormalization()]
    model = move_away(keras.Sequential([keras.Input((5, 5, 3)), *layers, BatchNormalization(), L.ReLU()]))
    assert len(folded_alike(model, np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype("float32")).folded) == 3


def reason_of(model, x=None):
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32") if x is None else x
    [fold] = folded_alike(move_away(model), x).folds
    assert fold.into is None
    return fold.reason


def test_reasons():
    def graph(build):
        x = keras.Input((3,))
        return keras.Model(x, build(x))

    norm, dense = BatchNormalization, lambda **o: L.Dense(3, name="dense", **o)

    def shared(x):
        layer = dense()
        return norm()(layer(x)) + layer(2 * x)

    def branching(x):
        y = dense()(x)
        return norm()(y) + y

    assert "activation relu of dense" in reason_of(graph(lambda x: norm()(dense(activation="relu")(x))))
    assert "dense before it is called elsewhere, too" in reason_of(graph(shared))
    assert "output of dense before it is used elsewhere" in reason_of(graph(branching))
    assert "an input" in reason_of(graph(lambda x: norm()(x)))
    assert "after it is an output" in reason_of(graph(lambda x: norm()(x)))
    called_in_training = graph(lambda x: norm()(dense()(x), training=True))
    assert "training=True" in fold(called_in_training, return_report=True)[1].kept[0].reason
    x = keras.Input((3,))
    y = dense()(x)
    assert "dense before it is used elsewhere" in reason_of(keras.Model(x, [y, norm()(y)]))
    x = keras.Input((4, 3))
    values = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    assert "other channels than axis=1" in reason_of(keras.Model(x, norm(axis=1)(dense()(x))), values)
    assert "several channel axes" in reason_of(keras.Model(x, norm(axis=(1, 2))(dense()(x))), values)


@pytest.mark.parametrize("kind", KINDS)
def test_39_statistics_that_cannot_be_right(kind):
    model = keras.Sequential([keras.Input((3,)), L.Dense(8), kind(name="norm")])
    model.get_layer("norm").moving_mean.assign([np.nan, *[0] * 7])
    assert "not finite in channel 0" in fold(model, return_report=True)[1].kept[0].reason
    # Within epsilon of 0 inference gives numbers, but none that are right.
    model.get_layer("norm").moving_mean.assign([0] * 8)
    model.get_layer("norm").moving_variance.assign([1, *[-1e-4] * 6, 1])
    expected = "negative variance in 6 channels (1, 2, 3, 4, 5, …)"
    assert expected in fold(model, return_report=True)[1].kept[0].reason
    with pytest.warns(UserWarning, match=re.escape(f"norm: {expected}")):
        convert(model)


def test_several_uses_of_one_layer():
    norm, x = BatchNormalization(), keras.Input((3,))
    model = keras.Model(x, [norm(L.Dense(4, name="a")(x)), norm(L.Dense(4, name="b")(x))])
    report = folded_alike(move_away(model), np.random.default_rng(0).normal(size=(4, 3)).astype("float32"))
    assert [sorted(fold.into.split(", ")) for fold in report.folds] == [["a", "b"]]


def test_one_batch_normalization_behind_every_call_of_one_layer():
    dense, norm, a, b = L.Dense(4, name="dense"), BatchNormalization(), keras.Input((3,)), keras.Input((3,))
    model = keras.Model([a, b], [norm(dense(a)), L.ReLU()(norm(dense(b)))])
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    assert folded_alike(move_away(model), list(x)).folds[0].into == "dense"


def test_two_batch_normalizations_before_one_layer_stay():
    dense, a, b = L.Dense(4, name="dense"), keras.Input((3,)), keras.Input((3,))
    model = keras.Model([a, b], [dense(BatchNormalization()(a)), dense(BatchNormalization()(b))])
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    reasons = [fold.reason for fold in folded_alike(move_away(model), list(x)).kept]
    assert all("dense after it is called several times" in reason for reason in reasons)


def test_several_batch_normalizations_in_a_row():
    layers = [BatchNormalization(), L.Dropout(0.5), L.BatchNormalization(), BatchNormalization(), L.Dense(4), L.ReLU()]
    model = move_away(keras.Sequential([keras.Input((3,)), *layers]))
    assert len(folded_alike(model, np.random.default_rng(0).normal(size=(4, 3)).astype("float32")).folded) == 3


def test_a_batch_normalization_that_feeds_several_linear_layers():
    x = np.random.default_rng(0).normal(size=(4, 6, 6, 3)).astype("float32")
    a = keras.Input((6, 6, 3))
    h = BatchNormalization(name="norm")(a)
    again = BatchNormalization()(h)
    taken = [
        L.Conv2D(4, 3, name="conv")(h),
        L.Conv2D(4, 1, name="other")(again),
        L.DepthwiseConv2D(2, name="depthwise")(again),
    ]
    report = folded_alike(move_away(keras.Model(a, taken)), x)
    assert len(report.folded) == 2
    assert sorted(report.folds[0].into.split(", ")) == ["conv", "depthwise", "other"]
    # One of them would lack the shift at its borders.
    taken.append(L.Conv2D(4, 3, padding="same", name="padded")(h))
    reason = folded_alike(move_away(keras.Model(a, taken)), x).kept[0].reason
    assert "padded after it pads with zeros" in reason


def test_what_is_called_in_training_stays():
    x = np.random.default_rng(0).normal(5, 3, size=(8, 3)).astype("float32")
    # Statistics that do not move, since the order of the two calls of one layer is not said.
    norm = BatchNormalization(momentum=1.0)
    inner = keras.Sequential([keras.Input((3,)), L.Dense(4), norm, L.ReLU()], name="inner")
    outer = keras.Sequential([keras.Input((3,)), inner, L.Dense(2), BatchNormalization(name="last")], name="outer")
    a = keras.Input((3,))
    before = BatchNormalization(name="before")(L.Dense(3)(a))
    for output in (inner(before, training=True), outer(before, training=True), inner(before, training=True) + inner(a)):
        # Keras lets what follows in the same call inherit that it is training.
        after = BatchNormalization(momentum=1.0, name="after")(L.Dense(2)(output))
        model = move_away(keras.Model(a, after))
        new, report = fold(model, return_report=True)
        assert [f.name for f in report.folded] == ["before"]
        assert all("called with training=True" in f.reason for f in report.kept)
        inferred, trained = model.predict(x, verbose=0), model(x)
        assert applications.error([new.predict(x, verbose=0)], [inferred]) < 1e-5
        assert applications.error([new(x)], [trained]) < 1e-5
        assert applications.error([trained], [inferred]) > 0.1


def test_a_call_around_a_graph_is_left_alone():
    class Around(keras.Model):
        def call(self, x, training=None, mask=None):
            return super().call(x / 2, training=training)

    x = keras.Input((3,))
    inner = keras.Sequential([keras.Input((3,)), L.Dense(4), BatchNormalization()], name="inner")
    report = folded_alike(move_away(Around(x, inner(x))), np.ones((2, 3), "float32"))
    assert "not a graph" in report.kept[0].reason


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = keras.Sequential([keras.Input((3,)), L.Dense(4), L.BatchNormalization(), L.ReLU()], name="inner")
        self.norm = L.BatchNormalization(name="norm")

    def call(self, x):
        return self.norm(self.inner(x))


def test_nested_and_subclassed_models():
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    model = Subclassed()
    model(x)
    report = folded_alike(move_away(model), x)
    assert len(report.folded) == 1
    assert "not a graph" in report.kept[0].reason
    inner = keras.Sequential(
        [keras.Input((3,)), L.Dense(4, name="dense"), BatchNormalization(name="norm")], name="inner"
    )
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    outer = keras.Model({"a": a, "b": b}, {"y": inner(a) + inner(b)})
    report = folded_alike(move_away(outer), {"a": x, "b": x + 1})
    assert report.folds[0][:2] == ("inner/norm", "inner/dense")


def test_a_layer_with_a_bias_that_another_graph_shares():
    """Only the graph in which normalization follows may get the folded weights."""
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    shared = L.Dense(4, name="shared")
    inner = keras.Sequential([keras.Input((3,)), shared], name="inner")
    a = keras.Input((3,), name="a")
    outer = keras.Model(a, [L.BatchNormalization(name="norm")(shared(a)), inner(a)])
    folded_alike(move_away(outer), x)


def test_the_name_of_an_output_stays_in_a_file_too(tmp_path):
    x = keras.Input((3,))
    model = keras.Model(x, BatchNormalization(name="logits", dtype="mixed_float16")(L.Dense(4)(x)))
    fold(model).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.output_names == ["logits"]
    assert loaded.output.dtype == model.output.dtype == "float16"


def test_what_was_folded_is_printed_on_request(capsys):
    model = keras.Sequential([keras.Input((3,)), L.Dense(2, name="dense"), BatchNormalization(name="norm")])
    fold(model)
    assert capsys.readouterr().out == ""
    fold(model, verbose=True)
    assert capsys.readouterr().out == "1 of 1 batch normalizations folded\n  norm  into dense\n"


def test_what_is_no_model_or_not_built():
    with pytest.raises(TypeError, match="Received: BatchNormalization"):
        fold(BatchNormalization())
    with pytest.raises(ValueError, match="not built"):
        fold(keras.Sequential([L.Dense(2)]))


def test_saved_and_converted(tmp_path):
    model = move_away(
        convert(keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(4, 3), L.BatchNormalization(), L.ReLU()]))
    )
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    fold(model).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert applications.error(loaded(x), model(x)) < 1e-5


def test_a_model_of_which_nothing_is_folded_is_warned_of():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.norm = keras.layers.Dense(2), keras.layers.BatchNormalization(name="norm")

        def call(self, x, training=False):
            return self.norm(self.dense(x), training=training)

    model = Own()
    model(np.zeros((1, 3), "float32"))
    with pytest.warns(UserWarning, match="none of the 1 batch normalizations of own was folded. The first, norm: own"):
        fold(model)
    assert not fold(model, return_report=True)[1].folded  # who asks for the report needs no warning


def test_a_wider_normalization_is_not_folded_into_a_narrower_layer():
    """The products of 16 bits would overflow where the normalization in 32 does not."""
    x = keras.Input((8,))
    dense = L.Dense(4, dtype="mixed_float16", name="dense")(x)
    model = keras.Model(x, keras.ops.exp(BatchNormalization(dtype="float32", name="norm")(dense)))
    with pytest.warns(UserWarning, match="dense before it computes in float16, and it in float32"):
        folded = fold(model)
    data = np.random.default_rng(0).normal(size=(5, 8))
    assert folded(data).dtype == model(data).dtype == "float32"
    np.testing.assert_array_equal(folded(data), model(data))


@pytest.mark.parametrize(("kind", "policy"), [(L.BatchNormalization, "float32"), (BatchNormalization, "mixed_float16")])
def test_a_wider_normalization_is_not_folded_into_a_narrower_layer_after_it(kind, policy):
    """Which would round inputs that lie far from 0. Ours takes float32 inputs of a 16-bit layer as they are."""
    norm = kind(dtype=policy, name="norm")
    model = keras.Sequential([keras.Input((8,)), norm, L.Dense(3, dtype="mixed_float16")])
    norm.moving_mean.assign(np.full(8, 1e5))
    data = np.random.default_rng(0).normal(1e5, size=(5, 8)).astype("float32")
    with pytest.warns(UserWarning, match="after it computes in float16, and it in float32"):
        folded = fold(model)
    np.testing.assert_array_equal(folded(data), model(data))
    assert np.isfinite(folded(data)).all()
