"""Functions as courses, papers and frameworks write them, with their gradients: right ones, wrong ones, and others."""

# ruff: noqa: F841, RUF059, PT018, NPY002, RUF034, UP031
# This is how they are written.

import functools

import numpy as np

from tests import student_helpers

RIGHT = []  # name, forward, backward, shapes of the inputs
WRONG = []
REFUSED = []
BN = {"x": ("N", "D"), "gamma": ("D",), "beta": ("D",)}


# ---- right
def f_bn(x, gamma, beta, eps=1e-5):
    mu = x.mean(axis=0)
    var = x.var(axis=0)
    std = np.sqrt(var + eps)
    xh = (x - mu) / std
    return gamma * xh + beta, (xh, gamma, std)


# kratzert stepwise
def f_krat(x, gamma, beta, eps=1e-5):
    N, D = x.shape
    mu = 1.0 / N * np.sum(x, axis=0)
    xmu = x - mu
    sq = xmu**2
    var = 1.0 / N * np.sum(sq, axis=0)
    sqrtvar = np.sqrt(var + eps)
    ivar = 1.0 / sqrtvar
    xhat = xmu * ivar
    gammax = gamma * xhat
    out = gammax + beta
    cache = (xhat, gamma, xmu, ivar, sqrtvar, var, eps)
    return out, cache


def b_krat(dout, cache):
    xhat, gamma, xmu, ivar, sqrtvar, var, eps = cache
    N, D = dout.shape
    dbeta = np.sum(dout, axis=0)
    dgammax = dout
    dgamma = np.sum(dgammax * xhat, axis=0)
    dxhat = dgammax * gamma
    divar = np.sum(dxhat * xmu, axis=0)
    dxmu1 = dxhat * ivar
    dsqrtvar = -1.0 / (sqrtvar**2) * divar
    dvar = 0.5 * 1.0 / np.sqrt(var + eps) * dsqrtvar
    dsq = 1.0 / N * np.ones((N, D)) * dvar
    dxmu2 = 2 * xmu * dsq
    dx1 = dxmu1 + dxmu2
    dmu = -1 * np.sum(dxmu1 + dxmu2, axis=0)
    dx2 = 1.0 / N * np.ones((N, D)) * dmu
    dx = dx1 + dx2
    return dx, dgamma, dbeta


RIGHT.append(("kratzert", f_krat, b_krat, BN))


def b_dict(dout, cache):
    x = cache["x"]
    mu = cache["mean"]
    var = cache["var"]
    g = cache["gamma"]
    eps = cache["eps"]
    m = x.shape[0]
    xc = x - mu
    istd = 1 / np.sqrt(var + eps)
    dxh = dout * g
    dvar = np.sum(dxh * xc * -0.5 * (var + eps) ** -1.5, axis=0)
    dmu = np.sum(dxh * -istd, axis=0) + dvar * np.mean(-2.0 * xc, axis=0)
    dx = dxh * istd + dvar * 2 * xc / m + dmu / m
    return {"dx": dx, "dgamma": (dout * xc * istd).sum(0), "dbeta": dout.sum(0)}


def f_dict(x, gamma, beta):
    eps = 1e-3
    mean = np.mean(x, axis=0)
    var = np.mean((x - mean) ** 2, axis=0)
    return gamma * (x - mean) / np.sqrt(var + eps) + beta, {
        "x": x,
        "mean": mean,
        "var": var,
        "gamma": gamma,
        "eps": eps,
    }


RIGHT.append(("paper dict", f_dict, b_dict, BN))


class Layer:
    def __init__(self, eps=1e-5):
        self.eps = eps

    def forward(self, x, gamma, beta):
        self.x = x
        self.gamma = gamma
        self.mu = x.mean(0, keepdims=True)
        self.var = x.var(0, keepdims=True)
        self.xn = (x - self.mu) / np.sqrt(self.var + self.eps)
        return self.xn * gamma + beta

    def backward(self, dy, *_):
        n = len(self.x)
        dxn = dy * self.gamma
        dx = (dxn - dxn.mean(axis=0) - self.xn * (dxn * self.xn).mean(axis=0)) / np.sqrt(self.var + self.eps)
        return dx, (dy * self.xn).sum(axis=0), dy.sum(axis=0)


L = Layer()
RIGHT.append(("layer object", L.forward, L.backward, BN))


def f_ln(x, gamma, beta, eps=1e-5):
    mu = x.mean(axis=1, keepdims=True)
    var = x.var(axis=1, keepdims=True)
    std = np.sqrt(var + eps)
    xh = (x - mu) / std
    return gamma * xh + beta, (xh, gamma, std)


def b_ln(dout, cache):
    xh, gamma, std = cache
    D = dout.shape[1]
    dbeta = dout.sum(axis=0)
    dgamma = np.sum(dout * xh, axis=0)
    dxh = dout * gamma
    dx = 1 / D / std * (D * dxh - dxh.sum(axis=1, keepdims=True) - xh * np.sum(dxh * xh, axis=1, keepdims=True))
    return dx, dgamma, dbeta


RIGHT.append(("layernorm", f_ln, b_ln, BN))


def f_lnT(x, gamma, beta, eps=1e-5):
    x = x.T
    gamma = gamma.reshape(-1, 1)
    beta = beta.reshape(-1, 1)
    mu = np.mean(x, axis=0)
    var = np.var(x, axis=0)
    std = np.sqrt(var + eps)
    xn = (x - mu) / std
    out = (gamma * xn + beta).T
    return out, (x, xn, gamma, mu, var, std, eps)


def b_lnT(dout, cache):
    x, xn, gamma, mu, var, std, eps = cache
    dout = dout.T
    N, D = dout.shape
    dbeta = dout.sum(axis=1)
    dgamma = np.sum(dout * xn, axis=1)
    dxn = dout * gamma
    dvar = np.sum(dxn * (x - mu) * -0.5 * (var + eps) ** (-3 / 2), axis=0)
    dmu = -np.sum(dxn / std, axis=0) - 2 * dvar * np.sum(x - mu, axis=0) / N
    dx = dxn / std + dvar * 2 * (x - mu) / N + dmu / N
    return dx.T, dgamma, dbeta


RIGHT.append(("layernorm transposed", f_lnT, b_lnT, BN))
SP = {"x": ("N", "C", "H", "W"), "gamma": ("C",), "beta": ("C",)}


def f_sp(x, gamma, beta):
    N, C, H, W = x.shape
    xf = x.transpose(0, 2, 3, 1).reshape(-1, C)
    out, cache = f_krat(xf, gamma, beta)
    return out.reshape(N, H, W, C).transpose(0, 3, 1, 2), cache


def b_sp(dout, cache):
    N, C, H, W = dout.shape
    d = dout.transpose(0, 2, 3, 1).reshape(-1, C)
    dx, dg, db = b_krat(d, cache)
    return dx.reshape(N, H, W, C).transpose(0, 3, 1, 2), dg, db


RIGHT.append(("spatial bn", f_sp, b_sp, SP))


def f_sp2(x, gamma, beta, eps=1e-5):
    mu = x.mean(axis=(0, 2, 3), keepdims=True)
    v = ((x - mu) ** 2).mean(axis=(0, 2, 3), keepdims=True)
    xh = (x - mu) / np.sqrt(v + eps)
    return gamma[None, :, None, None] * xh + beta[None, :, None, None], (xh, v, gamma, eps)


def b_sp2(d, cache):
    xh, v, gamma, eps = cache
    N, C, H, W = d.shape
    m = N * H * W
    dg = (d * xh).sum(axis=(0, 2, 3))
    db = d.sum(axis=(0, 2, 3))
    g = gamma.reshape(1, -1, 1, 1)
    return g / np.sqrt(v + eps) * (d - db[None, :, None, None] / m - xh * dg[None, :, None, None] / m), dg, db


RIGHT.append(("spatial bn direct", f_sp2, b_sp2, SP))


def f_in(x, gamma, beta, eps=1e-5):
    mu = x.mean(axis=(2, 3), keepdims=True)
    v = x.var(axis=(2, 3), keepdims=True)
    xh = (x - mu) / np.sqrt(v + eps)
    return gamma[None, :, None, None] * xh + beta[None, :, None, None], (xh, v, gamma, eps)


def b_in(d, cache):
    xh, v, gamma, eps = cache
    N, C, H, W = d.shape
    m = H * W
    dg = (d * xh).sum(axis=(0, 2, 3))
    db = d.sum(axis=(0, 2, 3))
    dxh = d * gamma.reshape(1, -1, 1, 1)
    return (
        1
        / np.sqrt(v + eps)
        * (dxh - dxh.mean(axis=(2, 3), keepdims=True) - xh * (dxh * xh).mean(axis=(2, 3), keepdims=True)),
        dg,
        db,
    )


RIGHT.append(("instancenorm", f_in, b_in, SP))


def f_gn(x, gamma, beta, G=2, eps=1e-5):
    N, C, H, W = x.shape
    xg = x.reshape(N, G, C // G, H, W)
    mu = xg.mean(axis=(2, 3, 4), keepdims=True)
    v = xg.var(axis=(2, 3, 4), keepdims=True)
    xh = ((xg - mu) / np.sqrt(v + eps)).reshape(N, C, H, W)
    return gamma * xh + beta, (G, xh, v, gamma, eps)


def b_gn(d, cache):
    G, xh, v, gamma, eps = cache
    N, C, H, W = d.shape
    dg = np.sum(d * xh, axis=(0, 2, 3), keepdims=True)
    db = d.sum(axis=(0, 2, 3), keepdims=True)
    dxh = (d * gamma).reshape(N, G, C // G, H, W)
    xg = xh.reshape(N, G, C // G, H, W)
    m = C // G * H * W
    dx = (
        dxh - dxh.sum(axis=(2, 3, 4), keepdims=True) / m - xg * (dxh * xg).sum(axis=(2, 3, 4), keepdims=True) / m
    ) / np.sqrt(v + eps)
    return dx.reshape(N, C, H, W), dg, db


RIGHT.append(("groupnorm", f_gn, b_gn, {"x": ("N", 6, "H", "W"), "gamma": (1, 6, 1, 1), "beta": (1, 6, 1, 1)}))


def f_rms(x, g):
    r = np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-6)
    return x / r * g, (x, r, g)


def b_rms(dy, c):
    x, r, g = c
    xn = x / r
    dxn = dy * g
    return (dxn - xn * np.mean(dxn * xn, axis=-1, keepdims=True)) / r, np.sum(dy * xn, axis=0)


RIGHT.append(("rms", f_rms, b_rms, {"x": (None, "D"), "g": ("D",)}))


def f_l2(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def b_l2(dy, x):
    n = np.linalg.norm(x, axis=1, keepdims=True)
    y = x / n
    return (dy - y * (dy * y).sum(1, keepdims=True)) / n


RIGHT.append(("l2", f_l2, b_l2, {"x": ("N", "D")}))


def f_mse(p, t):
    return np.mean((p - t) ** 2)


def b_mse(dy, p, t):
    g = 2 * (p - t) / p.size * dy
    return g, -g


RIGHT.append(("mse", f_mse, b_mse, {"p": ("N", "D"), "t": ("N", "D")}))


def f_aff(x, w, b):
    return x.dot(w) + b, (x, w, b)


def b_aff(d, c):
    x, w, b = c
    return d.dot(w.T), x.T.dot(d), np.sum(d, axis=0)


RIGHT.append(("affine", f_aff, b_aff, {"x": ("N", "D"), "w": ("D", "M"), "b": ("M",)}))


def f_aff2(x, w, b):
    N = x.shape[0]
    return x.reshape(N, -1) @ w + b, (x, w)


def b_aff2(d, c):
    x, w = c
    return (d @ w.T).reshape(x.shape), x.reshape(x.shape[0], -1).T @ d, d.sum(0)


RIGHT.append(("affine flat known", f_aff2, b_aff2, {"x": ("N", 3, 4), "w": (12, "M"), "b": ("M",)}))


def f_cos(a, b):
    na = np.sqrt((a * a).sum(-1))
    nb = np.sqrt((b * b).sum(-1))
    return (a * b).sum(-1) / (na * nb)


def b_cos(dy, a, b):
    na = np.linalg.norm(a, axis=-1, keepdims=True)
    nb = np.linalg.norm(b, axis=-1, keepdims=True)
    c = np.sum(a * b, axis=-1, keepdims=True) / (na * nb)
    d = dy[:, None]
    return d * (b / (na * nb) - c * a / na**2), d * (a / (na * nb) - c * b / nb**2)


RIGHT.append(("cosine", f_cos, b_cos, {"a": ("N", "D"), "b": ("N", "D")}))


def f_ub(x):
    n = x.shape[0]
    mu = x.mean(0)
    v = x.var(0, ddof=1)
    return (x - mu) / np.sqrt(v + 1e-5), (x, mu, v)


def b_ub(dy, c):
    x, mu, v = c
    n = x.shape[0]
    s = 1 / np.sqrt(v + 1e-5)
    z = (x - mu) * s
    return s * (dy - dy.mean(0) - z * (dy * z).sum(0) / (n - 1))


RIGHT.append(("unbiased", f_ub, b_ub, {"x": ("N", "D")}))


def f_std(x):
    return (x - x.mean(0)) / x.std(0)


def b_std(dy, x):
    s = x.std(0)
    z = (x - x.mean(0)) / s
    return (dy - dy.mean(0) - z * np.mean(dy * z, 0)) / s


RIGHT.append(("standardize", f_std, b_std, {"x": ("N", "D")}))


def f_std2(x):
    return (x - x.mean(0)) / (x.std(0) + 1e-8)


def b_std2(dy, x):
    n = x.shape[0]
    mu = x.mean(0)
    s = x.std(0)
    t = s + 1e-8
    c = x - mu
    ds = -(dy * c).sum(0) / t**2
    dc = dy / t + ds * c / (n * s)
    return dc - dc.mean(0)


RIGHT.append(("std+eps", f_std2, b_std2, {"x": ("N", "D")}))


def f_inpl(x):
    out = x.copy()
    out -= x.mean(axis=0)
    return out


def b_inpl(dy, x):
    dx = np.zeros_like(dy)
    dx += dy
    dx -= dy.sum(axis=0) / x.shape[0]
    return dx


RIGHT.append(("inplace", f_inpl, b_inpl, {"x": ("N", "D")}))


def f_ein(x):
    m = np.einsum("nd->d", x) / x.shape[0]
    xc = x - m
    return xc / np.sqrt(np.einsum("nd,nd->d", xc, xc) / x.shape[0] + 1e-4), (xc,)


def b_ein(dy, c):
    xc = c[0] if isinstance(c, tuple) else c
    n = xc.shape[0]
    v = np.einsum("nd,nd->d", xc, xc) / n + 1e-4
    dxc = dy / np.sqrt(v) - xc * np.einsum("nd,nd->d", dy, xc) / n * v**-1.5
    return dxc - np.ones((n, 1)) @ (np.ones((1, n)) @ dxc) / n


RIGHT.append(("einsum", f_ein, b_ein, {"x": ("N", "D")}))


def f_ws(w):
    m = w.mean(axis=(1, 2, 3), keepdims=True)
    s = w.std(axis=(1, 2, 3), keepdims=True)
    return (w - m) / (s + 1e-5)


def b_ws(dy, w):
    m = w.mean(axis=(1, 2, 3), keepdims=True)
    c = w - m
    n = w.shape[1] * w.shape[2] * w.shape[3]
    s = np.sqrt((c**2).mean(axis=(1, 2, 3), keepdims=True))
    t = s + 1e-5
    d = dy / t - c * (dy * c).sum(axis=(1, 2, 3), keepdims=True) / (n * s * t**2)
    return d - d.mean(axis=(1, 2, 3), keepdims=True)


RIGHT.append(("weight std", f_ws, b_ws, {"w": ("O", "I", "K", "L")}))


def f_sm(x):
    e = np.exp(x)
    return e / e.sum(axis=1, keepdims=True)


def b_sm(dy, x):
    p = f_sm(x)
    return p * (dy - (dy * p).sum(axis=1, keepdims=True))


RIGHT.append(("softmax", f_sm, b_sm, {"x": ("N", "C")}))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


RIGHT.append(("sigmoid", sigmoid, lambda dy, x: dy * sigmoid(x) * (1 - sigmoid(x)), {"x": ("N",)}))
RIGHT.append(("tanh", lambda x: np.tanh(x), lambda dy, x: dy * (1 - np.tanh(x) ** 2), {"x": ("N", "D")}))


def f_lse(x):
    return np.log(np.sum(np.exp(x), axis=1))


RIGHT.append(
    ("logsumexp", f_lse, lambda dy, x: dy[:, None] * np.exp(x) / np.exp(x).sum(1, keepdims=True), {"x": ("N", "D")})
)


def f_swish(x):
    return x * sigmoid(x)


RIGHT.append(("swish", f_swish, lambda dy, x: dy * (sigmoid(x) + x * sigmoid(x) * (1 - sigmoid(x))), {"x": ("N", "D")}))
RIGHT.append(("softplus", lambda x: np.log(1 + np.exp(x)), lambda dy, x: dy * sigmoid(x), {"x": ("N",)}))


def f_ratio(x):
    return x / np.sum(x, axis=0)


RIGHT.append(("ratio", f_ratio, lambda dy, x: (dy - (dy * f_ratio(x)).sum(0)) / x.sum(0), {"x": ("N", "D")}))


def f_bil(x, A, y):
    return np.einsum("ni,ij,nj->n", x, A, y)


RIGHT.append(
    (
        "bilinear",
        f_bil,
        lambda d, x, A, y: (d[:, None] * (y @ A.T), np.einsum("n,ni,nj->ij", d, x, y), d[:, None] * (x @ A)),
        {"x": ("N", "I"), "A": ("I", "J"), "y": ("N", "J")},
    )
)


def f_bnaff(x, w, gamma, beta):
    z = x @ w
    o, c = f_bn(z, gamma, beta)
    return o, (x, w, c)


def b_bnaff(d, c):
    x, w, cc = c
    dz, dg, db = b_bn(d, cc)
    return dz @ w.T, x.T @ dz, dg, db


def b_bn(dout, cache):
    xh, gamma, std = cache
    N, D = dout.shape
    dbeta = dout.sum(axis=0)
    dgamma = np.sum(dout * xh, axis=0)
    dxh = dout * gamma
    dx = 1.0 / N / std * (N * dxh - dxh.sum(axis=0) - xh * np.sum(dxh * xh, axis=0))
    return dx, dgamma, dbeta


RIGHT.append(("affine+bn", f_bnaff, b_bnaff, {"x": ("N", "D"), "w": ("D", "M"), "gamma": ("M",), "beta": ("M",)}))


def f_bneps(x, eps):
    mu = x.mean(0)
    v = ((x - mu) ** 2).mean(0)
    return (x - mu) / np.sqrt(v + eps), (x, mu, v, eps)


def b_bneps(d, c):
    x, mu, v, eps = c
    n = x.shape[0]
    s = (v + eps) ** -0.5
    z = (x - mu) * s
    return s * (d - d.mean(0) - z * (d * z).mean(0)), np.sum(-0.5 * d * (x - mu) * s**3)


RIGHT.append(("eps input", f_bneps, b_bneps, {"x": ("N", "D"), "eps": ()}))


def b_Ivanov(dout, cache):
    xh, gamma, std = cache
    m = dout.shape[0]
    dx = (gamma / (m * std)) * (m * dout - np.sum(dout, axis=0) - xh * np.sum(dout * xh, axis=0))
    return dx, np.diag(dout.T @ xh), dout.sum(0)


RIGHT.append(("bn diag", f_bn, b_Ivanov, BN))


def b_jac(dout, cache):
    xh, gamma, std = cache
    N = dout.shape[0]
    C = np.eye(N) - np.ones((N, N)) / N
    dxh = dout * gamma
    return (C @ dxh - xh * (dxh * xh).mean(axis=0)) / std, (dout * xh).sum(0), dout.sum(0)


RIGHT.append(("bn centering matrix", f_bn, b_jac, BN))


def f_E2(x):
    m = x.mean(0)
    v = (x**2).mean(0) - m**2
    return (x - m) / np.sqrt(v + 1e-3), (x, m, v)


def b_E2(d, c):
    x, m, v = c
    n = x.shape[0]
    s = 1 / np.sqrt(v + 1e-3)
    dv = -0.5 * s**3 * (d * (x - m)).sum(0)
    dm = -(d * s).sum(0) - 2 * m * dv
    return d * s + dv * 2 * x / n + dm / n


RIGHT.append(("E[x2]-E[x]2", f_E2, b_E2, {"x": ("N", "D")}))


def f_tile(x):
    n = len(x)
    mu = np.tile(x.mean(0), (n, 1))
    return x - mu


RIGHT.append(("tile", f_tile, lambda d, x: d - np.repeat(d.mean(0, keepdims=True), len(d), axis=0), {"x": ("N", "D")}))


def f_float(x):
    n = float(x.shape[0])
    return x - np.sum(x, axis=0) / n


RIGHT.append(("float(N)", f_float, lambda d, x: d - np.sum(d, 0) / float(d.shape[0]), {"x": ("N", "D")}))


def f_assert(x, g):
    assert x.ndim == 2 and x.shape[1] == g.shape[0]
    return x * g


def b_assert(d, x, g):
    assert d.shape == x.shape
    dg = (d * x).sum(0)
    assert dg.shape == g.shape
    return d * g, dg


RIGHT.append(("asserts", f_assert, b_assert, {"x": ("N", "D"), "g": ("D",)}))


def f_var(x):
    return np.var(x)


RIGHT.append(("var all", f_var, lambda d, x: d * 2 * (x - x.mean()) / x.size, {"x": ("N", "D")}))


def f_prod(x):
    return x.sum(axis=None) / np.prod(x.shape)


RIGHT.append(("mean prod", f_prod, lambda d, x: np.full(x.shape, d / np.prod(x.shape)), {"x": ("N", "D")}))


def f_ones(x):
    return x.sum()


RIGHT.append(("sum", f_ones, lambda d, x: np.ones_like(x) * d, {"x": ("N", "D")}))


def f_brn(x, gamma, beta, r, d):
    mu = x.mean(0)
    s = np.sqrt(x.var(0) + 1e-3)
    z = (x - mu) / s * r + d
    return z * gamma + beta, ((x - mu) / s, s, r, d, gamma)


def b_brn(dy, c):
    xh, s, r, d, gamma = c
    z = xh * r + d
    dz = dy * gamma
    dxh = dz * r
    return (dxh - dxh.mean(0) - xh * (dxh * xh).mean(0)) / s, (dy * z).sum(0), dy.sum(0), (dz * xh).sum(0), dz.sum(0)


RIGHT.append(("renorm", f_brn, b_brn, {"x": ("N", "D"), "gamma": ("D",), "beta": ("D",), "r": ("D",), "d": ("D",)}))


def f_sc(x):
    y = x - x.mean(axis=-1, keepdims=True)
    return y / (np.abs(y).mean(axis=-1, keepdims=True) + 1e-3)


def b_sc(d, x):
    n = x.shape[-1]
    y = x - x.mean(-1, keepdims=True)
    a = np.abs(y).mean(-1, keepdims=True) + 1e-3
    dy = d / a - (d * y).sum(-1, keepdims=True) / a**2 * np.sign(y) / n
    return dy - dy.mean(-1, keepdims=True)


RIGHT.append(("L1 norm", f_sc, b_sc, {"x": ("N", "D")}))


def f_attn(q, k, v):
    s = q @ k.T
    return s @ v


RIGHT.append(
    (
        "linear attn",
        f_attn,
        lambda d, q, k, v: ((d @ v.T) @ k, (d @ v.T).T @ q, (q @ k.T).T @ d),
        {"q": ("N", "D"), "k": ("M", "D"), "v": ("M", "E")},
    )
)


def f_scaled(x, w):
    return (x @ w) / np.sqrt(x.shape[1])


RIGHT.append(
    (
        "scaled",
        f_scaled,
        lambda d, x, w: (d @ w.T / np.sqrt(x.shape[1]), x.T @ d / np.sqrt(x.shape[1])),
        {"x": ("N", "D"), "w": ("D", "M")},
    )
)
RIGHT.append(
    (
        "gelu tanh",
        lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        lambda d, x: (
            d
            * (
                0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
                + 0.5
                * x
                * (1 - np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)) ** 2)
                * np.sqrt(2 / np.pi)
                * (1 + 3 * 0.044715 * x**2)
            )
        ),
        {"x": ("N",)},
    )
)


def f_dims(x):
    m = np.expand_dims(np.mean(x, axis=1), 1)
    return np.subtract(x, m)


RIGHT.append(("expand", f_dims, lambda d, x: d - np.mean(d, 1)[:, np.newaxis], {"x": ("N", "D")}))


def f_mu0(x):
    return x - 0.1 * x.sum(0) / x.shape[0] * (1 - 0.9)


RIGHT.append(("momentum", f_mu0, lambda d, x: d - 0.01 * d.mean(0), {"x": ("N", "D")}))


# ------------ wrong
def mk(expr):
    def b(dout, cache):
        xh, gamma, std = cache
        N, D = dout.shape
        dbeta = dout.sum(axis=0)
        dgamma = np.sum(dout * xh, axis=0)
        dxh = dout * gamma
        return expr(dout, xh, gamma, std, N, D, dxh), dgamma, dbeta

    return b


WRONG.append(("no var", f_bn, mk(lambda d, z, g, s, N, D, e: (e - e.mean(0)) / s), BN))
WRONG.append(("no mean", f_bn, mk(lambda d, z, g, s, N, D, e: (e - z * (e * z).mean(0)) / s), BN))
WRONG.append(("N-1", f_bn, mk(lambda d, z, g, s, N, D, e: (e - e.mean(0) - z * (e * z).sum(0) / (N - 1)) / s), BN))
WRONG.append(
    ("axis", f_bn, mk(lambda d, z, g, s, N, D, e: (e - e.mean(0) - z * (e * z).mean(1, keepdims=True)) / s), BN)
)
WRONG.append(("sum", f_bn, mk(lambda d, z, g, s, N, D, e: (N * e - e.sum(0) - z * (e * z).sum(0)) / s), BN))
WRONG.append(("sign", f_bn, mk(lambda d, z, g, s, N, D, e: (e - e.mean(0) + z * (e * z).mean(0)) / s), BN))
WRONG.append(("noscale", f_bn, mk(lambda d, z, g, s, N, D, e: e - e.mean(0) - z * (e * z).mean(0)), BN))
WRONG.append(("detached", f_bn, mk(lambda d, z, g, s, N, D, e: e / s), BN))
WRONG.append(("D for N", f_bn, mk(lambda d, z, g, s, N, D, e: (D * e - e.sum(0) - z * (e * z).sum(0)) / s / D), BN))
WRONG.append(("ge", f_bn, mk(lambda d, z, g, s, N, D, e: (e - e.mean(0) - z * (e * z).mean(0)) / (s + 1e-3)), BN))


def b_w(dout, cache):
    xh, gamma, std = cache
    dx, dg, db = b_bn(dout, cache)
    return dx, (dout * xh).mean(0), db


WRONG.append(("mean dgamma", f_bn, b_w, BN))


def b_w(dout, cache):
    xh, gamma, std = cache
    dx, dg, db = b_bn(dout, cache)
    return dx, dout * xh, db


WRONG.append(("no sum dgamma", f_bn, b_w, BN))


def b_w(dout, cache):
    dx, dg, db = b_bn(dout, cache)
    return dx, db, dg


WRONG.append(("swapped", f_bn, b_w, BN))


def b_w(dout, cache):
    dx, dg, db = b_bn(dout, cache)
    return dx + (dout.shape[0] - 1) * (dout.shape[0] - 2) * (dout.shape[0] - 3) * dx, dg, db


WRONG.append(("right for N<=3", f_bn, b_w, BN))
WRONG.append(("cube", lambda x: x * x * x, lambda d, x: 3 * x * d, {"x": ("N",)}))
REFUSED.append(("if N==3", lambda x: x * 2, lambda d, x: 2 * d if x.shape[0] != 100 else d, {"x": ("N",)}))
REFUSED.append(("if N>100", lambda x: x * 2, lambda d, x: 2 * d if x.shape[0] <= 100 else d, {"x": ("N",)}))
REFUSED.append(("loop", lambda x: x * 2, lambda d, x: np.array([2 * d[i] for i in range(x.shape[0])]), {"x": ("N",)}))
REFUSED.append(("largest", lambda x: x.max() * x, lambda d, x: d * x.max(), {"x": ("N",)}))
REFUSED.append(("if value", lambda x: x if x.sum() > 0 else -x, lambda d, x: d, {"x": ("N",)}))
REFUSED.append(("random", lambda x: x * np.random.rand(), lambda d, x: d, {"x": ("N",)}))
REFUSED.append(("N//2", lambda x: x * (x.shape[0] // 2), lambda d, x: d * (x.shape[0] // 2), {"x": ("N",)}))
REFUSED.append(("cumsum", lambda x: np.cumsum(x), lambda d, x: d, {"x": ("N",)}))
REFUSED.append(("sort", lambda x: np.sort(x), lambda d, x: d, {"x": ("N",)}))
REFUSED.append(
    (
        "N==D only",
        lambda x: x @ x.T if x.shape[0] == x.shape[1] else x @ x.T,
        lambda d, x: (d + d.T) @ x,
        {"x": ("N", "D")},
    )
)
REFUSED.append(("slice", lambda x: x[1:] - x[:-1], lambda d, x: d, {"x": ("N",)}))
REFUSED.append(("first", lambda x: x[0] * x, lambda d, x: d * x[0], {"x": ("N",)}))
WRONG.append(("wrong LN axis", f_ln, lambda d, c: b_bn(d, c), BN))
WRONG.append(
    (
        "transposed W",
        f_aff,
        lambda d, c: (d @ c[1].T, d.T @ c[0], d.sum(0)),
        {"x": ("N", "D"), "w": ("D", "M"), "b": ("M",)},
    )
)
WRONG.append(
    (
        "mse no 2",
        f_mse,
        lambda dy, p, t: ((p - t) / p.size * dy, -(p - t) / p.size * dy),
        {"p": ("N", "D"), "t": ("N", "D")},
    )
)
WRONG.append(
    (
        "mse /N",
        f_mse,
        lambda dy, p, t: (2 * (p - t) / p.shape[0] * dy, -2 * (p - t) / p.shape[0] * dy),
        {"p": ("N", "D"), "t": ("N", "D")},
    )
)
WRONG.append(
    (
        "mse no dy",
        f_mse,
        lambda dy, p, t: (2 * (p - t) / p.size, -2 * (p - t) / p.size),
        {"p": ("N", "D"), "t": ("N", "D")},
    )
)
WRONG.append(("softmax diag only", f_sm, lambda dy, x: dy * f_sm(x) * (1 - f_sm(x)), {"x": ("N", "C")}))
WRONG.append(
    (
        "rms sum",
        f_rms,
        lambda dy, c: (
            ((dy * c[2]) - c[0] / c[1] * np.sum(dy * c[2] * c[0] / c[1], axis=-1, keepdims=True)) / c[1],
            (dy * c[0] / c[1]).sum(0),
        ),
        {"x": ("N", "D"), "g": ("D",)},
    )
)


def f_mutate(x):
    x -= x.mean(0)
    return x


REFUSED.append(("mutates", f_mutate, lambda d, x: d - d.mean(0), {"x": ("N", "D")}))


def batchnorm_forward(x, gamma, beta, bn_param):
    mode = bn_param["mode"]
    eps = bn_param.get("eps", 1e-5)
    momentum = bn_param.get("momentum", 0.9)
    N, D = x.shape
    running_mean = bn_param.get("running_mean", np.zeros(D, dtype=x.dtype))
    running_var = bn_param.get("running_var", np.zeros(D, dtype=x.dtype))
    out, cache = None, None
    if mode == "train":
        sample_mean = np.mean(x, axis=0)
        sample_var = np.var(x, axis=0)
        x_hat = (x - sample_mean) / np.sqrt(sample_var + eps)
        out = gamma * x_hat + beta
        running_mean = momentum * running_mean + (1 - momentum) * sample_mean
        running_var = momentum * running_var + (1 - momentum) * sample_var
        cache = {"x": x, "x_hat": x_hat, "gamma": gamma, "mean": sample_mean, "var": sample_var, "eps": eps}
    elif mode == "test":
        out = (x - running_mean) / np.sqrt(running_var + eps) * gamma + beta
    else:
        raise ValueError('Invalid forward batchnorm mode "%s"' % mode)
    bn_param["running_mean"] = running_mean
    bn_param["running_var"] = running_var
    return out, cache


def batchnorm_backward(dout, cache):
    x, x_hat, gamma = cache["x"], cache["x_hat"], cache["gamma"]
    mean, var, eps = cache["mean"], cache["var"], cache["eps"]
    N = dout.shape[0]
    dx, dgamma, dbeta = None, None, None
    dgamma = np.sum(dout * x_hat, axis=0)
    dbeta = np.sum(dout, axis=0)
    dx_hat = dout * gamma
    dvar = np.sum(dx_hat * (x - mean) * -0.5 * np.power(var + eps, -1.5), axis=0)
    dmean = np.sum(dx_hat * -1 / np.sqrt(var + eps), axis=0) + dvar * np.sum(-2 * (x - mean), axis=0) / N
    dx = dx_hat / np.sqrt(var + eps) + dvar * 2 * (x - mean) / N + dmean / N
    return dx, dgamma, dbeta


def alt(dout, cache):
    x, x_hat, gamma = cache["x"], cache["x_hat"], cache["gamma"]
    inv = 1 / np.sqrt(cache["var"] + cache["eps"])
    N = dout.shape[0]
    dgamma = (dout * x_hat).sum(0)
    dbeta = dout.sum(0)
    return (gamma * inv / N) * (N * dout - dbeta - x_hat * dgamma), dgamma, dbeta


RIGHT.append(
    ("cs231n partial", functools.partial(batchnorm_forward, bn_param={"mode": "train"}), batchnorm_backward, BN)
)
bnp = {"mode": "train"}
RIGHT.append(("cs231n closure", lambda x, g, b: batchnorm_forward(x, g, b, bnp), alt, BN))
RIGHT.append(
    (
        "cs231n test-mode-like",
        lambda x, g, b, m, v: (g * (x - m) / np.sqrt(v + 1e-5) + b, (x, g, m, v)),
        lambda d, c: (
            d * c[1] / np.sqrt(c[3] + 1e-5),
            (d * (c[0] - c[2]) / np.sqrt(c[3] + 1e-5)).sum(0),
            d.sum(0),
            -(d * c[1] / np.sqrt(c[3] + 1e-5)).sum(0),
            (d * c[1] * (c[0] - c[2])).sum(0) * -0.5 * (c[3] + 1e-5) ** -1.5,
        ),
        {"x": ("N", "D"), "g": ("D",), "b": ("D",), "m": ("D",), "v": ("D",)},
    )
)


class BatchNorm:
    def __init__(self, dim, momentum=0.9, epsilon=1e-7):
        self.momentum = momentum
        self.eps = epsilon
        self.running_mean = None
        self.running_var = None

    def forward(self, x, gamma, beta, train_flg=True):
        if self.running_mean is None:
            N, D = x.shape
            self.running_mean = np.zeros(D)
            self.running_var = np.zeros(D)
        if train_flg:
            mu = x.mean(axis=0)
            xc = x - mu
            var = np.mean(xc**2, axis=0)
            std = np.sqrt(var + 10e-7)
            xn = xc / std
            self.batch_size = x.shape[0]
            self.xc = xc
            self.xn = xn
            self.std = std
            self.gamma = gamma
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mu
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        return gamma * xn + beta

    def backward(self, dout, *args):
        dbeta = dout.sum(axis=0)
        dgamma = np.sum(self.xn * dout, axis=0)
        dxn = self.gamma * dout
        dxc = dxn / self.std
        dstd = -np.sum((dxn * self.xc) / (self.std * self.std), axis=0)
        dvar = 0.5 * dstd / self.std
        dxc += (2.0 / self.batch_size) * self.xc * dvar
        dmu = np.sum(dxc, axis=0)
        dx = dxc - dmu / self.batch_size
        self.dgamma = dgamma
        self.dbeta = dbeta
        return dx, dgamma, dbeta


o = BatchNorm(3)
RIGHT.append(("deep-learning-from-scratch", o.forward, o.backward, BN))


def outer_jac(dout, cache):
    xh, gamma, std = cache
    N = dout.shape[0]
    J = (np.eye(N)[:, :, None] - 1.0 / N - xh[:, None, :] * xh[None, :, :] / N) / std
    return np.einsum("nd,nmd->md", dout * gamma, J), np.einsum("nd,nd->d", dout, xh), np.einsum("nd->d", dout)


RIGHT.append(("full jacobian", f_bn, outer_jac, BN))


def inpl(dout, cache):
    xh, gamma, std = cache
    N, D = dout.shape
    dx = np.zeros((N, D))
    dx += dout * gamma
    dx -= (dout * gamma).mean(axis=0)
    dx -= xh * ((dout * gamma * xh).mean(axis=0))
    dx /= std
    dg = np.zeros(D)
    dg += (dout * xh).sum(axis=0)
    db = np.zeros_like(gamma)
    db[:] = dout.sum(axis=0)
    return dx, dg, db


RIGHT.append(("inplace zeros", f_bn, inpl, BN))


def mutdout(dout, cache):
    xh, gamma, std = cache
    N = dout.shape[0]
    dg = (dout * xh).sum(0)
    db = dout.sum(0)
    dout *= gamma
    dout -= dout.mean(0) + xh * (dout * xh).mean(0)
    dout /= std
    return dout, dg, db


RIGHT.append(("mutates dout", f_bn, mutdout, BN))


def f_known(x, g):
    mu = x.mean(1, keepdims=True)
    v = x.var(1, keepdims=True)
    return g * (x - mu) / np.sqrt(v + 1e-6)


def b_known(d, x, g):
    mu = x.mean(1, keepdims=True)
    v = x.var(1, keepdims=True)
    s = 1 / np.sqrt(v + 1e-6)
    z = (x - mu) * s
    e = d * g
    return s * (e - e.sum(1, keepdims=True) / 4 - z * (e * z).sum(1, keepdims=True) / 4), (d * z).sum(0)


RIGHT.append(("known D=4", f_known, b_known, {"x": (None, 4), "g": (4,)}))
RIGHT.append(("all known", f_known, b_known, {"x": (3, 4), "g": (4,)}))


def f_mlp(x, w1, b1, w2):
    h = np.tanh(x @ w1 + b1)
    return h @ w2, (x, h, w1, w2)


def b_mlp(d, c):
    x, h, w1, w2 = c
    dh = d @ w2.T
    dz = dh * (1 - h**2)
    return dz @ w1.T, x.T @ dz, dz.sum(axis=0), h.T @ d


RIGHT.append(("mlp tanh", f_mlp, b_mlp, {"x": ("N", "D"), "w1": ("D", "H"), "b1": ("H",), "w2": ("H", "K")}))


def f_ce(z, t):
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    return -np.sum(t * np.log(p)) / z.shape[0]


def b_ce(d, z, t):
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    n = z.shape[0]
    return d * (p * t.sum(1, keepdims=True) - t) / n, -d * np.log(p) / n


RIGHT.append(("cross entropy", f_ce, b_ce, {"z": ("N", "C"), "t": ("N", "C")}))


def f_stable(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


RIGHT.append(
    (
        "stable softmax",
        f_stable,
        lambda d, z: f_stable(z) * (d - (d * f_stable(z)).sum(1, keepdims=True)),
        {"z": ("N", "C")},
    )
)


def f_bce(p, t):
    return -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p))


RIGHT.append(
    (
        "bce",
        f_bce,
        lambda d, p, t: (d * (p - t) / (p * (1 - p)) / p.size, d * (np.log(1 - p) - np.log(p)) / p.size),
        {"p": ("N",), "t": ("N",)},
    )
)
RIGHT.append(
    (
        "stable lse",
        lambda z: (lambda m: m + np.log(np.exp(z - m).sum(1, keepdims=True)))(z.max(1, keepdims=True)),
        lambda d, z: d * f_stable(z),
        {"z": ("N", "C")},
    )
)


def f_attn(q, k, v):
    s = q @ k.T / np.sqrt(q.shape[-1])
    a = np.exp(s)
    a = a / a.sum(-1, keepdims=True)
    return a @ v, (q, k, v, a)


def b_attn(d, c):
    q, k, v, a = c
    dv = a.T @ d
    da = d @ v.T
    ds = a * (da - (da * a).sum(-1, keepdims=True)) / np.sqrt(q.shape[-1])
    return ds @ k, ds.T @ q, dv


RIGHT.append(("attention", f_attn, b_attn, {"q": ("N", "D"), "k": ("M", "D"), "v": ("M", "E")}))


def f_b3(x, w):
    return np.matmul(x, w)


RIGHT.append(
    (
        "batched matmul",
        f_b3,
        lambda d, x, w: (np.matmul(d, np.swapaxes(w, -1, -2)), np.matmul(x.transpose(0, 2, 1), d)),
        {"x": ("B", "N", "D"), "w": ("B", "D", "M")},
    )
)


def f_huber(x):
    return np.sqrt(1 + x**2) - 1


RIGHT.append(("pseudo huber", f_huber, lambda d, x: d * x / np.sqrt(1 + x**2), {"x": ("N",)}))
RIGHT.append(("softsign", lambda x: x / (1 + np.abs(x)), lambda d, x: d / (1 + np.abs(x)) ** 2, {"x": ("N",)}))


def f_wn(v, g):
    return g * v / np.linalg.norm(v, axis=0)


def b_wn(d, v, g):
    n = np.linalg.norm(v, axis=0)
    dg = np.sum(d * v, axis=0) / n
    return g / n * d - g * dg / n**2 * v, dg


RIGHT.append(("weight norm", f_wn, b_wn, {"v": ("D", "M"), "g": ("M",)}))


def f_pix(x):
    return x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + 1e-8)


def b_pix(d, x):
    n = x.shape[1]
    r = np.sqrt(np.mean(x * x, axis=1, keepdims=True) + 1e-8)
    return d / r - x * np.sum(d * x, axis=1, keepdims=True) / (n * r**3)


RIGHT.append(("pixelnorm", f_pix, b_pix, {"x": ("N", "C", "H", "W")}))


def f_grn(x, g, b):
    gx = np.sqrt(np.sum(x**2, axis=(1, 2), keepdims=True))
    nx = gx / (gx.mean(axis=-1, keepdims=True) + 1e-6)
    return g * (x * nx) + b + x


def b_grn(d, x, g, b):
    gx = np.sqrt(np.sum(x**2, axis=(1, 2), keepdims=True))
    C = x.shape[-1]
    m = gx.mean(-1, keepdims=True) + 1e-6
    nx = gx / m
    e = d * g
    dnx = (e * x).sum(axis=(1, 2), keepdims=True)
    dgx = dnx / m - (dnx * gx).sum(-1, keepdims=True) / m**2 / C
    return e * nx + d + dgx * x / gx, (d * x * nx).sum(axis=(0, 1, 2)), d.sum(axis=(0, 1, 2))


RIGHT.append(("GRN convnext", f_grn, b_grn, {"x": ("N", "H", "W", "C"), "g": ("C",), "b": ("C",)}))


def f_corr(a, b):
    a = a - a.mean()
    b = b - b.mean()
    return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())


def b_corr(d, a, b):
    a = a - a.mean()
    b = b - b.mean()
    na = (a**2).sum()
    nb = (b**2).sum()
    r = (a * b).sum() / np.sqrt(na * nb)
    return d * (b / np.sqrt(na * nb) - r * a / na), d * (a / np.sqrt(na * nb) - r * b / nb)


RIGHT.append(("pearson", f_corr, b_corr, {"a": ("N",), "b": ("N",)}))


def f_whiten(x):
    x = x - x.mean(0)
    return x.T @ x / (x.shape[0] - 1)


def b_whiten(d, x):
    n = x.shape[0]
    xc = x - x.mean(0)
    g = xc @ (d + d.T) / (n - 1)
    return g - g.mean(0)


RIGHT.append(("covariance", f_whiten, b_whiten, {"x": ("N", "D")}))


def f_kl(m, lv):
    return -0.5 * np.sum(1 + lv - m**2 - np.exp(lv))


RIGHT.append(("kl", f_kl, lambda d, m, lv: (d * m, -0.5 * d * (1 - np.exp(lv))), {"m": ("N", "D"), "lv": ("N", "D")}))
RIGHT.append(
    (
        "ridge",
        lambda w, X, y,: ((X @ w - y) ** 2).sum() + 0.1 * (w**2).sum(),
        lambda d, w, X, y: (
            d * (2 * X.T @ (X @ w - y) + 0.2 * w),
            d * 2 * np.outer(X @ w - y, w),
            -2 * d * (X @ w - y),
        ),
        {"w": ("D",), "X": ("N", "D"), "y": ("N",)},
    )
)
RIGHT.append(
    (
        "comp dist",
        lambda a, b: ((a[:, None, :] - b[None, :, :]) ** 2).sum(-1),
        lambda d, a, b: (2 * (d.sum(1)[:, None] * a - d @ b), 2 * (d.sum(0)[:, None] * b - d.T @ a)),
        {"a": ("N", "D"), "b": ("M", "D")},
    )
)


RIGHT.append(
    (
        "mean keep 1D gamma",
        lambda x, g: (x * g, (x, g)),
        lambda d, c: (d * c[1], np.sum(d * c[0], axis=0, keepdims=True)),
        {"x": ("N", "D"), "g": (1, "D")},
    )
)


def f_min(x):
    return (x - x.min()) / (x.max() - x.min())


REFUSED.append(("minmax", f_min, lambda d, x: d, {"x": ("N",)}))
REFUSED.append(
    (
        "int zeros",
        lambda x: x * 2,
        lambda d, x: (lambda z: (z.__setitem__(Ellipsis, 2 * d), z)[1])(np.full(x.shape, 0)),
        {"x": ("N",)},
    )
)
REFUSED.append(("astype int", lambda x: x.astype(int) * x, lambda d, x: d * x.astype(int), {"x": ("N",)}))
REFUSED.append(("round", lambda x: np.round(x, 2) * x, lambda d, x: d * np.round(x, 2), {"x": ("N",)}))
# float() leaves the number that it is, so that nothing is cut off from the data.
RIGHT.append(
    ("float()", lambda x: float(x.sum()) * x, lambda d, x: d * float(x.sum()) + float((d * x).sum()), {"x": ("N",)})
)
WRONG.append(("float() value", lambda x: float(x.sum()) * x, lambda d, x: d * float(x.sum()), {"x": ("N",)}))
REFUSED.append(("missing", lambda x, g: x * g, lambda d, x, g: d * g, {"x": ("N",), "g": ("N",)}))
REFUSED.append(
    (
        "N=1 only",
        lambda x: x - x.mean(0),
        lambda d, x: d - d.sum(0) / (x.shape[0] + (x.shape[0] == 1)),
        {"x": ("N", "D")},
    )
)
WRONG.append(
    (
        "bessel",
        f_ub,
        lambda dy, c: (
            lambda x, mu, v: (lambda s: s * (dy - dy.mean(0) - (x - mu) * s * ((dy * (x - mu) * s).mean(0))))(
                1 / np.sqrt(v + 1e-5)
            )
        )(*c),
        {"x": ("N", "D")},
    )
)
WRONG.append(("eps place", f_bn, lambda d, c: b_bn(d, (c[0], c[1], c[2] + 1e-5)), BN))
REFUSED.append(("stringy", lambda x: "hello", lambda d, x: d, {"x": ("N",)}))
RIGHT.append(
    (
        "asks for the type",
        lambda x: x * 2,
        lambda d, x: 2 * d if isinstance(x, np.ndarray) and x.dtype == float else 3 * d,
        {"x": ("N",)},
    )
)
WRONG.append(
    (
        "wrong for NumPy's arrays only",
        lambda x: x * 2,
        lambda d, x: 3 * d if isinstance(x, np.ndarray) and x.dtype == float else 2 * d,
        {"x": ("N",)},
    )
)
REFUSED.append(("float16", lambda x: x * 2, lambda d, x: (2 * d).astype(np.float16), {"x": ("N",)}))
REFUSED.append(("mean in half", lambda x: x.mean(dtype="float16"), lambda d, x: d / x.size + 0 * x, {"x": ("N",)}))
WRONG.append(("no sum scalar", lambda x, a: x * a, lambda d, x, a: (d * a, d * x), {"x": ("N",), "a": ()}))
WRONG.append(
    ("softmax T", f_sm, lambda dy, x: f_sm(x) * (dy - (dy * f_sm(x)).sum(axis=0, keepdims=True)), {"x": ("N", "C")})
)
WRONG.append(("ln gamma axis", f_ln, lambda d, c: (b_ln(d, c)[0], np.sum(d * c[0], axis=1), d.sum(0)), BN))
WRONG.append(("std grads", f_std, lambda dy, x: (dy - dy.mean(0)) / x.std(0), {"x": ("N", "D")}))


# ---- objects that keep what their backward pass needs, and take dy alone
class RunningNorm:
    """As in frameworks: running means in the object, which do not enter y."""

    def __init__(self, features, eps: float = 1e-5):
        self.eps, self.training = eps, True
        self.running_mean, self.running_var = np.zeros(features), np.ones(features)

    def forward(self, x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
        assert x.ndim == 2, "expected (N, D)"
        if self.training:
            mean, var = x.mean(axis=0), x.var(axis=0)
            self.running_mean = 0.9 * self.running_mean + 0.1 * mean
            self.running_var = 0.9 * self.running_var + 0.1 * var
        else:
            mean, var = self.running_mean, self.running_var
        self.std = np.sqrt(var + self.eps)
        self.cache = {"xhat": (x - mean) / self.std, "gamma": gamma}
        return gamma * self.cache["xhat"] + beta

    def input_gradient(self, dout):
        xhat, gamma = self.cache["xhat"], self.cache["gamma"]
        assert dout.shape == xhat.shape
        self.dgamma, self.dbeta = (dout * xhat).sum(axis=0), dout.sum(axis=0)
        return gamma / self.std * (dout - dout.mean(axis=0) - xhat * (dout * xhat).mean(axis=0))

    def backward(self, dout, verbose=False):
        return self.input_gradient(dout), self.dgamma, self.dbeta


class HeldNorm(RunningNorm):
    """The variance held fixed, in a class that inherits."""

    def input_gradient(self, dout):
        super().input_gradient(dout)
        return self.cache["gamma"] / self.std * (dout - dout.mean(axis=0))


BN3 = {"x": ("N", 3), "gamma": (3,), "beta": (3,)}
kept, stored, held, only_dx = RunningNorm(3), RunningNorm(3), HeldNorm(3), RunningNorm(3)
RIGHT.append(("object with running means", kept.forward, kept.backward, BN3))
RIGHT.append(
    (
        "gradients stored in the object",
        stored.forward,
        lambda dy: (stored.input_gradient(dy), stored.dgamma, stored.dbeta),
        BN3,
    )
)
WRONG.append(("object, variance held", held.forward, held.backward, BN3))
REFUSED.append(("gradients stored, dx returned", only_dx.forward, only_dx.input_gradient, BN3))


class InPlace:
    def __init__(self):
        self.running_mean = np.zeros(3)

    def forward(self, x):
        self.running_mean *= 0.9
        self.running_mean += 0.1 * x.mean(axis=0)
        return x - x.mean(axis=0)

    def backward(self, dy):
        return dy - dy.mean(axis=0)


in_place = InPlace()
REFUSED.append(("running mean in place", in_place.forward, in_place.backward, {"x": ("N", 3)}))


# ---- caches that are dictionaries, taken apart by the call
def f_words(x, gamma, beta):
    mu, std = x.mean(0), np.sqrt(x.var(0) + 1e-5)
    return gamma * (x - mu) / std + beta, {"xhat": (x - mu) / std, "std": std, "gamma": gamma}


def b_words(dout, xhat, std, gamma):
    d = dout * gamma
    return (d - d.mean(0) - xhat * (d * xhat).mean(0)) / std, (dout * xhat).sum(0), dout.sum(0)


RIGHT.append(("cache by keywords", f_words, b_words, BN))
RIGHT.append(("cache as **cache", f_words, lambda dout, **cache: b_words(dout, **cache), BN))
WRONG.append(
    ("cache by keywords, wrong", f_words, lambda d, xhat, std, gamma: (d / std, (d * xhat).sum(0), d.sum(0)), BN)
)
REFUSED.append(
    (
        "names in another order",
        lambda x, gamma, beta: x * gamma + beta,
        lambda d, x, gamma, beta: (d * gamma, (d * x).sum(0), d.sum(0)),
        {"x": ("N", "D"), "beta": ("D",), "gamma": ("D",)},
    )
)
REFUSED.append(("dy last", lambda x: x * x, lambda x, dy: 2 * x * dy, {"x": ("N",)}))


# ---- imports of all kinds
def f_imports(x):
    import numpy as np

    return x - np.ones((x.shape[0], 1)) * np.mean(x, axis=0)


def b_imports(dy, x):
    from numpy import zeros

    from tests import student_helpers as own

    dx = zeros(dy.shape)
    dx += own.centred(dy)
    return dx


RIGHT.append(("imports in the function", f_imports, b_imports, {"x": ("N", "D")}))
RIGHT.append(
    (
        "functions of a module",
        lambda x: student_helpers.centred(x),
        lambda dy, x: student_helpers.centred(dy),
        {"x": ("N", "D")},
    )
)
WRONG.append(("imports in the function, no mean", f_imports, lambda dy, x: dy, {"x": ("N", "D")}))


# ---- several outputs
RIGHT.append(
    (
        "moments",
        lambda x: ((x.mean(0), x.var(0)), x),
        lambda dys, x: np.ones(x.shape) * dys[0] / len(x) + 2 * (x - x.mean(0)) * dys[1] / len(x),
        {"x": ("N", "D")},
    )
)
WRONG.append(
    (
        "moments, no 2",
        lambda x: ((x.mean(0), x.var(0)), x),
        lambda dys, x: np.ones(x.shape) * dys[0] / len(x) + (x - x.mean(0)) * dys[1] / len(x),
        {"x": ("N", "D")},
    )
)


# ---- an element and the sum that it is part of, in one divisor; logarithms of softmax
def b_share(dy, x):
    t = x + x.sum()
    return dy / t - dy * x / t**2 - np.sum(dy * x / t**2)


RIGHT.append(("x/(x + sum)", lambda x: x / (x + x.sum()), b_share, {"x": ("N",)}))
WRONG.append(
    (
        "x/(x + sum), sum held",
        lambda x: x / (x + x.sum()),
        lambda dy, x: dy / (x + x.sum()) - dy * x / (x + x.sum()) ** 2,
        {"x": ("N",)},
    )
)


def log_softmax(z):
    z = z - np.max(z, axis=1, keepdims=True)
    return z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))


def b_one_hot(dy, z, t):
    n = len(z)
    return dy * (student_helpers.softmax(z) * t.sum(1, keepdims=True) - t) / n, -dy * log_softmax(z) / n


def b_entropy(dy, z):
    p = student_helpers.softmax(z)
    return -dy[:, None] * p * (np.log(p) - (p * np.log(p)).sum(1, keepdims=True))


TWO = {"z": ("N", "C"), "t": ("N", "C")}
RIGHT.append(("cross entropy of targets", lambda z, t: -np.sum(t * log_softmax(z)) / len(z), b_one_hot, TWO))
RIGHT.append(("entropy", lambda z: -(f_stable(z) * np.log(f_stable(z))).sum(1), b_entropy, {"z": ("N", "C")}))
RIGHT.append(("sinh", lambda x: np.sinh(x), lambda dy, x: dy * np.cosh(x), {"x": ("N",)}))
