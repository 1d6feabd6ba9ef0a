"""Whether TensorFlow runs a function once more for its gradients, which must not update any state again."""

import sys

# The function within tf.recompute_grad that runs the recomputed one in backward. TensorFlow tells in no other way; if
# it comes to be called otherwise, updates are made twice.
_FILE, _FUNCTION = "custom_gradient.py", "inner_recompute_grad"


def is_running() -> bool:
    """Whether this call, or the trace that it belongs to, recomputes what was computed before.

    That is so in the backward pass of ``tf.recompute_grad``, and of ``keras.RematScope``, which uses it; not within a
    ``tf.function`` that is called there, which was traced before.
    """
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == _FUNCTION and frame.f_code.co_filename.endswith(_FILE):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
