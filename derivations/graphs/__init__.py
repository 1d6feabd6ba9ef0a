"""TensorFlow graphs: how they are walked, on symbolic axes and exactly, and what is assumed of kernels."""
