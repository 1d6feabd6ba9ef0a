"""Code that does something else at sizes, types or calls that a proof does not see is never proved."""

import contextlib
import copy
import pickle
import random
import sys
import warnings

import numpy as np
import pytest

from derivations import NotUnderstood, prove_gradient

# Ways to ask for the number of rows: the right one for small batches, 49 for N ≥ 50, or where they notice that they
# are watched. A gradient of the mean is divided by it.


def swallowed(x):
    try:
        return min(int(x.shape[0]), 49)
    except Exception:
        return x.shape[0]


def swallowed_all(x):
    try:
        return min(x.shape[0].__index__(), 49)
    except BaseException:
        return x.shape[0]


def suppressed(x):
    n = x.shape[0]
    with contextlib.suppress(Exception):
        n = min(int(n), 49)
    return n


def finally_returned(x):
    n = x.shape[0]
    try:
        n = min(int(n), 49)
    finally:
        return n  # noqa: B012


def bare_compare(x):
    try:
        return x.shape[0] if x.shape[0] < 50 else 49
    except Exception:
        return x.shape[0]


def attribute_of_size(x):
    return 49 if getattr(x.shape[0], "bit_length", lambda: 0)() > 5 else x.shape[0]


def attribute_of_array(x):
    return 49 if getattr(x, "nbytes", 0) > 3200 else x.shape[0]


def has_strides(x):
    return min(x.size * 8 // x.strides[0], 49) if hasattr(x, "strides") else x.shape[0]


def has_flags(x):
    return min(len(np.asarray(x)), 49) if hasattr(x, "flags") else x.shape[0]


def listed(x):
    return min(len(x.tolist()), 49) if hasattr(x, "tolist") else x.shape[0]


def is_array(x):
    return min(len(x), 49) if isinstance(x, np.ndarray) else x.shape[0]


def is_exactly_array(x):
    return min(len(x), 49) if type(x) is np.ndarray else x.shape[0]


def is_int(x):
    return min(x.shape[0], 49) if isinstance(x.shape[0], int) else x.shape[0]


def is_exactly_int(x):
    return min(x.shape[0], 49) if type(x.shape[0]) is int else x.shape[0]


def name_of_type(x):
    return {"int": lambda n: min(n, 49)}.get(type(x.shape[0]).__name__, lambda n: n)(x.shape[0])


def text(x):
    return 49 if len(str(x.shape[0])) > 1 and str(x.shape[0]) >= "50" else x.shape[0]


def formatted(x):
    return x.shape[0] if len(f"{x.shape[0]}") < 3 else 49


def percent(x):
    return x.shape[0] if len("%s" % (x.shape,)) < 8 else 49  # noqa: UP031


def represented(x):
    return x.shape[0] if len(repr(x.shape)) < 8 else 49


def looked_up(x):
    return dict.fromkeys(range(50, 2000), 49).get(x.shape[0], x.shape[0])


def in_a_set(x):
    return 49 if x.shape[0] in {64, 100, 128, 1000} else x.shape[0]


def in_a_tuple(x):
    return 49 if x.shape[0] in (64, 100, 128, 1000) else x.shape[0]


def hashed(x):
    return min(hash(x.shape[0]), 49)


def minimum(x):
    return min(x.shape[0], 49)


def sorted_first(x):
    return sorted([x.shape[0], 49])[0]


def clipped(x):
    return np.clip(x.shape[0], 1, 49)


def np_minimum(x):
    return np.minimum(x.shape[0], 49)


def length_of_range(x):
    return min(len(range(x.shape[0])), 49)


def arange(x):
    return min(np.arange(x.shape[0]).size, 49)


def modulus(x):
    return x.shape[0] % 50 + 50 * (x.shape[0] % 50 == 0)


def floored(x):
    return x.shape[0] - x.shape[0] // 50


def rounded(x):
    return round(x.shape[0] / 100) * 0 + x.shape[0] if round(x.shape[0] / 100) < 1 else 49


def compared_shape(x):
    return 49 if x.shape == (64, 3) else x.shape[0]


def truth(x):
    return x.shape[0] if bool(x.shape[0] - 64) else 49


def size_of_object(x):
    return 49 if sys.getsizeof(x) > 2000 else x.shape[0]


def pickled(x):
    try:
        return x.shape[0] if len(pickle.dumps(x)) < 3000 else 49
    except Exception:
        return x.shape[0]


def deep(x):
    return copy.deepcopy(min(x.shape[0], 49))


def bits(x):
    return x.shape[0] & 63 if x.shape[0] & 63 else 64


def shifted(x):
    return x.shape[0] - 50 * (x.shape[0] >> 6)


def joined(x):
    return x.shape[0] if len(",".join(map(str, x.shape))) < 5 else 49


def is_object(x):
    return x.shape[0] if x.dtype == object else min(x.shape[0], 49)


def scalar(x):
    return min(x.shape[0], 49) if np.isscalar(x.shape[0]) else x.shape[0]


def by_len_of_type(x):
    return x.shape[0] + (len(type(x).__name__) != 7) * 0 + (type(x) is np.ndarray) * (min(x.shape[0], 49) - x.shape[0])


def in_memory(x):
    return x.shape[0] if x.size.__sizeof__() < 30 and x.shape[0] * 1.0 < 50 else 49


def swallowed_by_context(x):
    class Quiet:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return True

    n = x.shape[0]
    with Quiet():
        n = min(n, 49)
    return n  # noqa: RET504


def warned(x):
    n = x.shape[0]
    try:
        warnings.warn(f"{n} rows", stacklevel=2)
        if n > 49:
            n = 49
    except Exception:
        pass
    return n


WAYS = [
    swallowed, swallowed_all, suppressed, finally_returned, bare_compare, attribute_of_size, attribute_of_array,
    has_strides, has_flags, listed, is_array, is_exactly_array, is_int, is_exactly_int, name_of_type, text, formatted,
    percent, represented, looked_up, in_a_set, in_a_tuple, hashed, minimum, sorted_first, clipped, np_minimum,
    length_of_range, arange, modulus, floored, rounded, compared_shape, truth, size_of_object, pickled, deep, bits,
    shifted, joined, is_object, scalar, by_len_of_type, in_memory, swallowed_by_context, warned,
]  # fmt: skip


@pytest.mark.parametrize("rows", WAYS, ids=lambda way: way.__name__)
def test_what_differs_for_large_batches_is_not_proved(rows):
    def backward(dy, x):
        return np.ones_like(x) * dy / rows(x)

    with pytest.raises(NotUnderstood):
        prove_gradient(lambda x: x.mean(axis=0), backward, inputs={"x": ("N", "D")})


def test_a_count_of_calls_is_noticed():
    calls = []

    def backward(dy, x):
        calls.append(0)
        return 2 * dy if len(calls) < 6 else dy

    with pytest.raises(NotUnderstood, match="call 6"):
        prove_gradient(lambda x: 2 * x, backward, inputs={"x": ("N",)})


def test_random_numbers_are_noticed():
    with pytest.raises(NotUnderstood, match="random"):
        prove_gradient(lambda x: 2 * x, lambda dy, x: 2 * dy + random.random(), inputs={"x": ("N",)})


def test_the_line_at_which_the_ways_part_is_named():
    def backward(dy, x):
        if type(x) is np.ndarray:
            return 2 * dy
        return 2.0 * dy

    with pytest.raises(NotUnderstood, match=r"test_prove_gradient_evasions\.py:\d+: .*another way"):
        prove_gradient(lambda x: 2 * x, backward, inputs={"x": ("N",)})
