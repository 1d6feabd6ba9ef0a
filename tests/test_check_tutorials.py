"""Formulas and lines of code in the styles of well-known tutorials: right, wrong and malformed, each with its verdict.

The styles: Ioffe and Szegedy's paper, Kratzert's staged backward pass, the CS231n assignment, Zakka's and Yeh's
derivations. What is refuted is refuted by exact numbers, so a wrong expectation could not pass.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derivations import __main__ as command
from derivations.check.problems import TARGETS
from derivations.check.tree import FormulaError
from derivations.check.verdict import judge
from derivations.claims.claim import Disagreement, Verdict
from derivations.notation import printing

STAGED = """
N, D = dout.shape
# step 9 and 8
dbeta = np.sum(dout, axis=0)
dgammax = dout
dgamma = np.sum(dgammax*xhat, axis=0)
dxhat = dgammax * gamma
# step 7
divar = np.sum(dxhat*xmu, axis=0)
dxmu1 = dxhat * ivar
# step 6 to 4
dsqrtvar = -1. /(sqrtvar**2) * divar
dvar = 0.5 * 1. /np.sqrt(var+eps) * dsqrtvar
dsq = 1. /N * np.ones((N,D)) * dvar
# step 3 to 0
dxmu2 = 2 * xmu * dsq
dx1 = (dxmu1 + dxmu2)
dmu = -1 * np.sum(dxmu1+dxmu2, axis=0)
dx2 = 1. /N * np.ones((N,D)) * dmu
dx = dx1 + dx2
return dx, dgamma, dbeta
"""
PAPER = """
dxhat = dout*gamma
dvar = np.sum(dxhat*(x - mu), axis=0)*(-1/2)*(var + eps)**(-3/2)
dmu = np.sum(dxhat*(-1/np.sqrt(var + eps)), axis=0) + dvar*np.sum(-2*(x - mu), axis=0)/m
dx = dxhat/np.sqrt(var + eps) + dvar*2*(x - mu)/m + dmu/m
dgamma = np.sum(dout*xhat, axis=0)
dbeta = np.sum(dout, axis=0)
"""
OWN_STATISTICS = """
def batchnorm_backward(dout, x, gamma, eps):
    m = x.shape[0]
    mean = x.mean(axis=0)
    variance = x.var(axis=0)
    std = np.sqrt(variance + eps)
    x_norm = (x - mean)/std
    dx_norm = dout*gamma
    dx = (dx_norm - dx_norm.mean(axis=0) - x_norm*(dx_norm*x_norm).mean(axis=0))/std
    dgamma = (dout*x_norm).sum(axis=0)
    return dx, dgamma
"""
SHORT = (
    "dxhat = dout*gamma; dx = (1. / N) * inv_std * (N*dxhat - np.sum(dxhat, axis=0) - xhat*np.sum(dxhat*xhat, axis=0))"
)
ONE_LINE = (
    "(1. / N) * gamma * (var + eps)**(-1. / 2.) * (N * dy - np.sum(dy, axis=0) "
    "- (h - mu) * (var + eps)**(-1.0) * np.sum(dy * (h - mu), axis=0))"
)

NCHW = (
    "gamma*s*(dout - np.sum(dout, axis=(0,2,3), keepdims=True)/{count}"
    " - xhat*np.sum(dout*xhat, axis=(0,2,3), keepdims=True)/{count})"
)
TORCH = (
    "v = {variance}; istd = (v + eps)**-0.5;gamma*istd*(delta - mean(delta) - (x - mu)*istd*mean(delta*(x - mu)*istd))"
)

PROVED = [
    ("dx", "N, C, H, W = x.shape; m = N*H*W; " + NCHW.format(count="m")),
    ("dx", "N, C, H, W = x.shape; m = N*H; m = m*W; " + NCHW.format(count="m")),
    ("dx", "N, C, H, W = x.shape; " + NCHW.format(count="N/H/W")),
    ("dx", NCHW.format(count="(x.shape[0]*x.shape[2]*x.shape[3])")),
    ("dx", TORCH.format(variance="np.var(x, axis=0)")),
    ("dx", TORCH.format(variance="torch.var(x, dim=0, unbiased=False)")),
    ("dx", TORCH.format(variance="x.var(dim=0, correction=0)")),
    ("dx", "eps = 10**-5; " + TORCH.format(variance="var")),
    ("dx", "γ·(σ² + ε)^(−1/2)·(δ − mean(δ) − x̂·mean(δ·x̂))"),
    ("dbeta", "np.sum(dout, axis=0)*int(N)/x.shape[0]"),
    # Code, as a whole, for each of its gradients.
    *[(target, STAGED) for target in ("dx", "dgamma", "dbeta", "dx_hat", "dvariance", "dmean")],
    *[(target, PAPER) for target in ("dx", "dgamma", "dbeta", "dx_hat", "dvariance", "dmean")],
    *[(target, OWN_STATISTICS) for target in ("dx", "dgamma")],
    ("dx", SHORT),
    ("dx", ONE_LINE),
    ("dx", "mu = 1/N*np.sum(h, axis=0); v = 1/N*np.sum((h - mu)**2, axis=0); " + ONE_LINE.replace("var", "v")),
    # The staged pass as one formula.
    (
        "dx",
        "delta*gamma*(1/sqrt(var+epsilon)) + 2*(x-mu)*(1/m*(0.5*1/sqrt(var+epsilon)*(-1/(sqrt(var+epsilon)**2)"
        "*sum(delta*gamma*(x-mu))))) + 1/m*(-1*sum(delta*gamma*(1/sqrt(var+epsilon)) + 2*(x-mu)*(1/m*(0.5*1/"
        "sqrt(var+epsilon)*(-1/(sqrt(var+epsilon)**2)*sum(delta*gamma*(x-mu)))))))",
    ),
    # The paper's as one formula.
    (
        "dx",
        "delta*gamma/sqrt(var+epsilon) + sum(delta*gamma*(x-mu))*(-1/2)*(var+epsilon)**(-3/2)*2*(x-mu)/m "
        "+ (sum(delta*gamma*(-1/sqrt(var+epsilon))) + sum(delta*gamma*(x-mu))*(-1/2)*(var+epsilon)**(-3/2)"
        "*sum(-2*(x-mu))/m)/m",
    ),
    ("dx", "sqrt(m)*gamma/sqrt(sum((x-mu)**2)+m*epsilon)*(delta - mean(delta) - x_hat*mean(delta*x_hat))"),
    ("dx", "gamma/std*(dy - dy.mean(0) - xhat*np.mean(dy*xhat, 0))".replace("std", "np.sqrt(var + eps)")),
    ("dx", "std = sqrt(var + eps); gamma/std*(dy - dy.mean(0) - (x - mu)/std**2*np.mean(dy*(x - mu), 0))"),
    (
        "dx",
        "tf.math.rsqrt(var + epsilon)*gamma*(dy - tf.reduce_mean(dy, axis=0) - xhat*tf.reduce_mean(dy*xhat, axis=0))",
    ),
    (
        "dx",
        "gamma*ivar*(dout - np.mean(dout, axis=(0, 2, 3), keepdims=True) - xhat*np.mean(dout*xhat, axis=(0, 2, 3)))",
    ),
    (
        "dx",
        "gamma * istd * (np.eye(1)[0][0]*0 + dout)".replace("np.eye(1)[0][0]*0 + ", "")
        + " - gamma*istd/N*(dout.sum(0) + xhat*(dout*xhat).sum(0))",
    ),
    ("dx", "dxhat*ivar - ivar*np.mean(dxhat, axis=0) - xmu*ivar**3*np.mean(dxhat*xmu, axis=0)"),
    ("dx", "g = dout*gamma\ng -= np.mean(g, axis=0)\ng -= xhat*np.mean(g*xhat, axis=0)\ndx = g*ivar"),
    ("dx", "dx = N*dxhat\ndx -= np.sum(dxhat, axis=0)\ndx -= xhat*np.sum(dxhat*xhat, axis=0)\ndx *= ivar/N"),
    ("dx", "dx = dxhat*ivar\ndx += -0.5*np.sum(dxhat*xmu, axis=0)*ivar**3*2*xmu/N\ndx -= np.sum(dxhat*ivar, axis=0)/N"),
    ("dx", "x_hat, gamma, ivar = cache; gamma*ivar*(dout - mean(dout) - x_hat*mean(dout*x_hat))"),
    ("dx", "return gamma*ivar*(dout - mean(dout) - x_hat*mean(dout*x_hat))"),
    ("dx", "eps = 1e-5\ngamma/np.sqrt(np.var(x, axis=0) + eps)*(dout - mean(dout) - x_hat*mean(dout*x_hat))"),
    ("dx", "γ·s·(δₖ − Σⱼ δⱼ/m − x̂ₖ·Σⱼ δⱼ·x̂ⱼ/m)"),
    ("dx", "γ·s·(δ − ⟨δ⟩ − x̂·⟨δ·x̂⟩)"),
    ("dx", "γ/√(v + ε)·(δᵢ − 1/m·Σδ − x̂ᵢ·1/m·Σδ·x̂)"),
    ("dx", "gamma*s*(delta_i - sum(delta_j)/m - x_hat_i*sum(delta_j*x_hat_j)/m)"),
    ("dx", "γ·(v + ε)^(−1/2)·(δ − mean(δ)) − γ·(v + ε)^(−3/2)·(x − μ)·mean(δ·(x − μ))"),
    ("dx", "gamma*s/m*(m*delta - sum(delta) - x_hat*sum(delta*x_hat))*sqrt((m-1)**2 + 2*m - 1)/m"),
    ("dx", "gamma*s*(delta - mean(delta) - x_hat*mean(delta*x_hat))*np.power(np.square(1 + var), 0.5)/(1 + var)"),
    ("dgamma", "np.sum(dout*xhat, axis=0)"),
    ("dgamma", "(dout * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps)).sum(axis=0)"),
    ("dgamma", "np.sum((x - mu)*(var + eps)**(-1./2.)*dy, axis=0)"),
    ("dgamma", "len(x)*np.mean(np.multiply(dout, x_norm), axis=0)"),
    ("dgamma", "Σⱼ δⱼ·x̂ⱼ"),
    ("dgamma", "Σδ·x̂"),
    ("dgamma", "torch.sum(grad_output*x_hat, dim=0)"),
    ("dgamma", "np.sum(np.divide(np.subtract(x, mu), np.sqrt(var + eps))*dout, axis=0)"),
    ("dgamma", "sum(delta*x_hat)*sqrt(m**2)/m"),
    ("dgamma", "sum(delta*x_hat)*sqrt(epsilon**2 + 2*epsilon*var + var**2)*s**2"),
    ("dbeta", "np.sum(dout, axis=0)"),
    ("dbeta", "dout.sum(0)"),
    ("dbeta", "Σδ"),
    ("dbeta", "Σⱼ δⱼ"),
    ("dbeta", "np.sum(dy, axis=0, keepdims=True)"),
    ("dbeta", "sum(delta)*sqrt((m-1)**2+2*m-1)/m"),
    ("dbeta", "sum(delta)*sqrt(4*m)/sqrt(m)/2"),
    ("dbeta", "sum(delta)*sqrt(sum(1))*m**-0.5"),
    ("dbeta", "sum(delta) + 0*sqrt(m - 1 - x_hat**2)"),
    ("dbeta", "sum(delta) + 0*sqrt(mean(delta**2)*mean(x**2) - mean(delta*x)**2)"),
    ("dbeta", "sum(delta) + 0*sqrt(mean(delta**2) - mean(delta*x_hat)**2)"),
    ("dx_hat", "dout*gamma"),
    ("dx_hat", "γ·δₖ"),
    ("dx_hat", "gamma*delta*sqrt(4 + 4*x**2)/(2*sqrt(1 + x**2))"),
    ("dx_hat", "gamma*delta*(1 + x**2)**1.5/(sqrt(1 + x**2) + x**2*sqrt(1 + x**2))"),
    ("dx_hat", "gamma.reshape(1, -1)*dout"),
    ("dx_hat", "gamma[np.newaxis, :]*dout"),
    ("dx_hat", "gamma = cache['gamma']\ndout*gamma"),
    ("dmean", "-gamma*s*sum(delta)"),
    ("dmean", "np.sum(dxhat*-1/np.sqrt(var + eps), axis=0)"),
    ("dmean", "−γ·s·Σⱼ δⱼ"),
    ("dvariance", "np.sum(dxhat*(x - mu)*-0.5*(var + eps)**-1.5, axis=0)"),
    ("dvariance", "−γ·s²·Σⱼ δⱼ·x̂ⱼ/2"),
    ("dvariance", "-0.5*gamma*np.sum(dout*xmu, axis=0)*ivar**3"),
]

REFUTED = [
    ("dx", TORCH.format(variance="torch.var(x, dim=0)")),
    ("dx", TORCH.format(variance="torch.std(x, dim=0)**2")),
    ("dx", STAGED.replace("dx = dx1 + dx2", "dx = dx1")),
    ("dx", STAGED.replace("0.5 * 1.", "1.")),
    ("dx", STAGED.replace("dmu = -1 *", "dmu =")),
    ("dx", STAGED.replace("2 * xmu", "xmu")),
    ("dx", STAGED.replace("(sqrtvar**2)", "sqrtvar")),
    ("dgamma", STAGED.replace("dgammax*xhat", "dgammax*xmu")),
    ("dx", PAPER.replace("(-3/2)", "(-1/2)")),
    ("dx", PAPER.replace("*2*(x - mu)/m +", "*(x - mu)/m +")),
    ("dx", PAPER.replace("+ dmu/m", "+ dmu")),
    ("dvariance", PAPER.replace("(-1/2)*(var", "(1/2)*(var")),
    ("dx", OWN_STATISTICS.replace("x.var(axis=0)", "x.var(axis=0, ddof=1)")),
    ("dx", OWN_STATISTICS.replace("variance + eps", "variance").replace("std =", "std = eps +")),
    ("dx", OWN_STATISTICS.replace("- dx_norm.mean(axis=0) ", "")),
    ("dgamma", OWN_STATISTICS.replace("(dout*x_norm)", "(dx_norm*x_norm)")),
    ("dx", SHORT.replace("N*dxhat", "dxhat")),
    ("dx", SHORT.replace("inv_std", "inv_std**2")),
    ("dx", ONE_LINE.replace("(-1.0)", "(-1./2.)")),
    ("dx", ONE_LINE.replace("gamma", "beta")),
    ("dx", "g = dout*gamma\ng -= np.mean(g, axis=0)\ndx = g*ivar"),
    ("dx", "gamma*ivar*(dout - np.sum(dout, axis=0) - xhat*np.sum(dout*xhat, axis=0))"),
    ("dx", "gamma*ivar*(dout - np.mean(dout, axis=0)*xhat - np.mean(dout*xhat, axis=0))"),
    ("dx", "gamma*ivar*(dout - np.mean(dout, axis=0) - xhat*np.mean(dout, axis=0)*np.mean(xhat, axis=0))"),
    ("dx", "gamma*ivar*(dout - np.mean(dout, axis=0) - xmu*np.mean(dout*xmu, axis=0)/var)"),
    ("dx", "ivar*(dout - np.mean(dout, axis=0) - xhat*np.mean(dout*xhat, axis=0))"),
    ("dx", "dxhat*ivar"),
    ("dx", "γ·s·(δₖ − Σⱼ δⱼ/m)"),
    ("dx", "γ·s·(δₖ − Σⱼ δⱼ/m − x̂ₖ·Σⱼ δⱼ·xⱼ/m)"),
    ("dx", "gamma*s*N/(N-1)*(delta - mean(delta) - x_hat*mean(delta*x_hat))"),
    ("dx", "gamma*s*(delta - mean(delta) - x_hat*mean(delta*x_hat)*sqrt(1 - epsilon*s**2))"),
    ("dx", "sqrt(m)*gamma/sqrt(sum((x-mu)**2)+epsilon)*(delta - mean(delta) - x_hat*mean(delta*x_hat))"),
    ("dx", "gamma*sqrt(s**2)*abs1".replace("abs1", "(delta - mean(delta) + x_hat*mean(delta*x_hat))")),
    ("dx", "sqrt(gamma**2)*s*(delta - mean(delta) - x_hat*mean(delta*x_hat))"),
    ("dx", "(1/sqrt(var+eps))*(dxhat - (1/N)*np.sum(dxhat, axis=0))"),
    ("dgamma", "np.sum(dout*x, axis=0)"),
    ("dgamma", "np.mean(dout*xhat, axis=0)"),
    ("dgamma", "np.sum(dout, axis=0)*np.sum(xhat, axis=0)"),
    ("dgamma", "dout*xhat"),
    ("dbeta", "sum(delta)*sqrt((m-2)**2)/(m-2)"),
    ("dgamma", "sum(delta*(x - mu))*sqrt(var**2)/var"),
    ("dbeta", "np.mean(dout, axis=0)"),
    ("dbeta", "dout"),
    ("dbeta", "gamma*np.sum(dout, axis=0)"),
    ("dbeta", "sum(delta)*sqrt((m-1)**2)/m"),
    ("dbeta", "sqrt(sum(delta)**2)"),
    ("dbeta", "sum(delta) + (m-1)*(m-2)*(m-3)"),
    ("dx_hat", "dout"),
    ("dx_hat", "np.sum(dout*gamma, axis=0)"),
    ("dx_hat", "gamma*delta*sqrt(1 + 4*x**2)/sqrt(1 + x**2)/2"),
    ("dmean", "np.sum(dxhat*-1/np.sqrt(var), axis=0)"),
    ("dmean", "-gamma*s*mean(delta)"),
    ("dmean", "sum(s*(gamma*delta - mean(gamma*delta)))"),
    ("dvariance", "np.sum(dxhat*(x - mu)*-0.5*(var + eps)**-0.5, axis=0)"),
    ("dvariance", "-gamma*s**3*sum(delta*(x - mu))"),
]

# With --forward: the forward pass, its letters that have a value for each element, the target, the formula.
RMS, L2 = "gamma*x/sqrt(mean(x**2) + epsilon)", "x/sqrt(sum(x**2))"
FORWARD = [
    (RMS, "", "dx", "gamma/sqrt(mean(x**2)+epsilon)*(delta - x*mean(delta*x)/(mean(x**2)+epsilon))", "proved for"),
    (RMS, "", "dx", "gamma/sqrt(mean(x**2)+epsilon)*(delta - x*sum(delta*x)/(mean(x**2)+epsilon))", "refuted"),
    (RMS, "", "dx", "gamma/sqrt(mean(x**2)+epsilon)*delta", "refuted"),
    (RMS, "", "dgamma", "sum(delta*x)/sqrt(mean(x**2) + epsilon)", "proved for"),
    (RMS, "", "dgamma", "sum(delta*x)/sqrt(mean(x**2))", "refuted"),
    (RMS, "", "dgamma", "sum(delta*y)/gamma", "proved where γ ≠ 0"),
    (RMS, "", "depsilon", "-gamma*sum(delta*x)*(mean(x**2) + epsilon)**(-3/2)/2", "proved for"),
    ("r = 1/sqrt(mean(x**2) + eps); y = g*x*r", "", "dx", "g*r*(dout - x*r**2*np.mean(dout*x, axis=0))", "proved for"),
    ("r = 1/sqrt(mean(x**2) + eps); y = g*x*r", "", "dg", "np.sum(dout*x*r, axis=0)", "proved for"),
    ("x/sqrt(sum(x**2) + eps)", "", "dx", "(dout - y*sum(dout*y))/sqrt(sum(x**2) + eps)", "proved for"),
    (L2, "", "dx", "(delta - y*sum(delta*y))/sqrt(sum(x**2))", "proved where sum(x²)"),
    (L2, "", "dx", "(delta - y*mean(delta*y))/sqrt(sum(x**2))", "refuted"),
    ("x/sum(x)", "", "dx", "(delta - sum(delta*y))/sum(x)", "proved where sum(x) ≠ 0"),
    ("x/sum(x)", "", "dx", "(delta - mean(delta*y))/sum(x)", "refuted"),
    ("x - mean(x)", "", "dx", "delta - mean(delta)", "proved for"),
    ("x - mean(x)", "", "dx", "delta - sum(delta)", "refuted"),
    ("(x - mu)/sqrt(var)", "", "dx", "(delta - mean(delta) - y*mean(delta*y))/sqrt(var)", "proved where v ≠ 0"),
    (
        "(x - mu)/sqrt(sum((x - mu)**2)/(m - 1) + eps)", "", "dx",
        "(delta - mean(delta) - y*sum(delta*y)/(m - 1))/sqrt(sum((x - mu)**2)/(m - 1) + eps)", "proved where m − 1 ≠ 0",
    ),
    (
        "(x - mu)/sqrt(sum((x - mu)**2)/(m - 1) + eps)", "", "dx",
        "(delta - mean(delta) - y*sum(delta*y)/m)/sqrt(sum((x - mu)**2)/(m - 1) + eps)", "refuted",
    ),
    ("gamma*x_hat + beta", "", "dx", "gamma*s*(delta - mean(delta) - x_hat*mean(delta*x_hat))", "proved for"),
    ("gamma*x_hat + beta", "", "dbeta", "sum(delta)", "proved for"),
    ("x + alpha*x_hat", "", "dalpha", "sum(delta*x_hat)", "proved for"),
    ("a*x + b", "", "da", "sum(delta*x)", "proved for"),
    ("a*x + b", "", "da", "mean(delta*x)", "refuted"),
    ("a*x + b", "", "dx", "a*delta", "proved for"),
    ("mean((x - t)**2)", "t", "dx", "2*delta*(x - t)/m", "proved for"),
    ("mean((x - t)**2)", "t", "dt", "2*delta*(x - t)/m", "refuted"),
    ("sum(x*t)/sqrt(sum(x**2)*sum(t**2))", "t", "dx", "delta*(t/sqrt(sum(x**2)*sum(t**2)) - y*x/sum(x**2))", "proved"),
    ("x**2/sum(x**2)", "", "dx", "2*x*(delta - sum(delta*y))/sum(x**2)", "proved where"),
    ("gamma*x + beta", "gamma beta", "dgamma", "delta*x", "proved for"),
    ("gamma*x + beta", "gamma beta", "dgamma", "sum(delta*x)", "refuted"),
    ("gamma*x_hat", "gamma", "dx", "s*(gamma*delta - mean(gamma*delta) - x_hat*mean(gamma*delta*x_hat))", "proved for"),
    ("b**2", "", "db", "2*b*delta", "proved for"),
    ("x*sqrt(s)", "", "dx", "delta", "not proved: "),
    ("x**3 - mean(x)**3", "", "dx", "3*x**2*delta - 3*mean(x)**2*mean(delta)", "proved for"),
]  # fmt: skip

REFUSED = [
    ("np.sum(dout*xhat, axis=1)", "axis 1 is not the batch"),
    ("np.sum(dout, axis=-1)", "axis -1 is not the batch"),
    ("np.sum(np.sum(dout, axis=0), axis=0)", "one number a channel already"),
    ("np.sum(np.mean(dout, axis=0))", "one number a channel already"),
    ("dout.mean(axis=0).sum()", "one number a channel already"),
    ("np.mean(gamma, axis=0)*dout", "one number a channel already"),
    ("np.mean(dout, axis=0) + np.sum(dout, axis=(0, 1, 2))", "different axes"),
    ("ivar*(dout - np.mean(dout) - xhat*np.mean(dout*xhat, axis=0))", "different axes, no axis and axis="),
    ("eps = 0; gamma/sqrt(var + eps)*dout", "epsilon is above 0"),
    ("np.dot(dout.T, xhat)", "write sum"),
    ("dout.T*xhat", r"\.T is not understood"),
    ("dout @ xhat", "no product of elements"),
    ("np.maximum(x, 0)", "no cases"),
    ("np.exp(x)", "formulas are made of"),
    ("gamma*std", r"did you mean sqrt\(var \+ epsilon\)"),
    ("gamma*inv_var*dout", r"did you mean 1/sqrt\(var \+ epsilon\)"),
    ("dxhat*ivar + dvar*2*xmu/m + dmu/m", "define it in a line before, dvar = …"),
    ("x, q = cache; x", "cache is not known here"),
    ("N = 32; dout/N", "every size m: leave this line out"),
    ("dgamma = np.sum(dout*xhat, axis=0)", "choose --target dgamma"),
    ("dout[0]", "without an index"),
    ("sum(delta_j*x_hat_k)", "runs over one index"),
    ("delta_i*x_hat_k", "two indices"),
    (r"\frac{1}{m}", "LaTeX is not understood"),
    ("1/m Σ δ", "operator is missing"),
    ("dx = ", "found the end"),
    ("np.sum(dout, axis=0", r"expected '\)'"),
    ("np.sum(dout, axes=0)", "axes= is not understood"),
    ("np.sum(dout, keepdims=dout)", "expected a whole number"),
    ("np.sum(dout, out, axis=0)", "expected a whole number"),
    ("dout.shape[1]*dout", "the batch is axis 0"),
    ("N, D = dout.shape; dout/D", "D is a size of which"),
    ("dx == dout", "compares"),
    ("dx += dout", "there is no 'dx'"),
    ("a, b = dout, x; a*b", "several names"),
    ("gamma/np.sqrt(var + 1e-5)*dout", "write epsilon for 1e-5"),
    ("for i in range(N): dx = 1", "loops, cases and functions are not understood"),
    ("x.reshape(1, -1)*dout", r"\.reshape is not understood"),
    ("dout[None, :]*gamma", "without an index"),
    ("np.linalg.norm(x)", "there is no"),
    ("gamma_k*dout", "has no index"),
    ("summ(dout)", "did you mean sum"),
    ("1/sqrt(-1 - x.var(0))", "defined nowhere"),
    ("x = x - x; 1/x", "defined nowhere"),
    ("a = x + x; " + "; ".join("a = a + a" for _ in range(30)), "written out"),
    # Lengths of axes.
    (NCHW.format(count="x.shape[0]"), "not how many elements share statistics"),
    (NCHW.format(count="len(x)"), "not how many elements share statistics"),
    (NCHW.format(count="N"), "not how many elements share statistics"),
    ("N, C, H, W = x.shape; " + NCHW.format(count="N"), r"write m, or x.shape\[0\]·x.shape\[2\]·x.shape\[3\]"),
    ("N, C, H, W = x.shape; " + NCHW.format(count="(N*H)"), "not how many elements"),
    ("N, C, H, W = x.shape; dout*H", "H is a size of which"),
    ("np.sum(dout, axis=0)/gamma.shape[0]", "no axis of the batch"),
    ("np.sum(dout, axis=0)/len(gamma)", "no axis of the batch"),
    ("N, D = gamma.shape; dout/N", "N is a size of which"),
    # Casts that round.
    ("dout + int(x) - x", "whole numbers"),
    ("dout + x.astype(int) - x", "whole numbers"),
    ("dout + tf.cast(x, tf.int32) - x", "whole numbers"),
    ("dout*np.array(x, dtype=int)/x", "whole numbers"),
    # Numbers that are computed.
    ("eps = -1; dout", "epsilon is above 0"),
    ("m = 2*5; dout/m", "every size m: leave this line out"),
    ("gamma/np.sqrt(var + 10**-5)*dout", "write epsilon for this number"),
    ("*".join(["x"] * 200), "more than 100 factors"),
    # What is wrong, in words.
    ("dout*xhat)", "no '\\(' that it closes"),
    ("delta, x", "one formula is judged"),
    ("import os", "no formula in these lines"),
    ("Σⱼδⱼx̂ⱼ", "write · between factors"),
]


@pytest.mark.parametrize("elements", [("not valid",), ("t", "t")])
def test_elements_are_names(elements):
    with pytest.raises(FormulaError, match="takes names, each once"):
        judge("delta/t", forward="x/t", elements=elements)


def test_a_forward_pass_without_letters_has_no_target():
    with pytest.raises(FormulaError, match="holds no letters"):
        judge("0", forward="5")


@pytest.mark.parametrize(("target", "formula"), PROVED)
def test_proved(target, formula):
    judgement = judge(formula, target)
    assert judgement.text().startswith("proved for every batch size m"), judgement.text()


@pytest.mark.parametrize(("target", "formula"), REFUTED)
def test_refuted(target, formula):
    judgement = judge(formula, target)
    assert judgement.claim.verdict is Verdict.REFUTED, judgement.text()


@pytest.mark.parametrize(("forward", "elements", "target", "formula", "verdict"), FORWARD)
def test_forward(forward, elements, target, formula, verdict):
    judgement = judge(formula, target, forward=forward, elements=tuple(elements.split()))
    assert judgement.text().startswith(verdict), judgement.text()


@pytest.mark.parametrize(("formula", "message"), REFUSED)
def test_refused(formula, message):
    with pytest.raises(FormulaError, match=message) as error:
        judge(formula)
    assert 0 <= error.value.position <= len(formula)
    assert error.value.pointed().splitlines()[-1].count("^") == 1


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("target", TARGETS)
def test_what_is_printed_can_be_typed_back(target, weighted):
    right = judge("0", target, weighted=weighted)
    for words in ("correct", "what is missing"):
        (line,) = [line for line in right.text().splitlines() if line.startswith(f"  {words}")]
        formula = line.removeprefix(f"  {words}").split("=", 1)[-1].strip()
        assert judge(formula, target, weighted=weighted).claim.verdict is Verdict.PROVED, formula


@pytest.mark.parametrize(("target", "formula"), REFUTED)
def test_what_is_missing_completes_a_wrong_formula(target, formula):
    judgement = judge(formula, target)
    if judgement.residual is not None:
        assert judgement.residual != 0
        missing = printing.unicode(judgement.residual)
        completed = judge(f"({judgement.formula}) + ({missing})", target)
        assert completed.claim.verdict is Verdict.PROVED, f"{judgement.formula}\n{missing}\n{completed.text()}"


def test_enough_formulas():
    assert len(PROVED) + len(REFUTED) + len(FORWARD) + len(REFUSED) >= 150


PARTS = ["x", "dout", "x_hat", "gamma", "mu", "var", "s", "eps", "N", "2", "xmu", "sqrtvar", "(m - 1)", "δₖ", "1/3"]
RIGHT = {
    "dx": "gamma*s*(delta - mean(delta) - x_hat*mean(delta*x_hat))",
    "dgamma": "sum(delta*x_hat)",
    "dbeta": "sum(delta)",
    "dx_hat": "gamma*delta",
    "dmean": "-gamma*s*sum(delta)",
    "dvariance": "-gamma*s**2*sum(delta*x_hat)/2",
}


def random_formula(rng: random.Random, depth: int) -> str:
    if not depth:
        return rng.choice(PARTS)
    a, b = random_formula(rng, depth - 1), random_formula(rng, rng.randrange(depth))
    forms = [f"({a} + {b})", f"({a} - {b})", f"{a}*{b}", f"({a})/({b})", f"sqrt({a})", f"sqrt(({a})**2)", f"sum({a})"]
    forms += [f"mean({a}*{b})", f"({a})**2", f"({a})**-0.5", f"({a})**1.5", f"np.sum({a}, axis=0)", f"np.var({a})"]
    return rng.choice([*forms, f"({a}).mean(axis=0)", f"sqrt({a}*{a})*sqrt({b})", f"(x + {a})*({b})"])


@pytest.mark.parametrize("seed", range(40))
def test_right_ones_rewritten_at_random_are_never_refuted_and_wrong_ones_never_proved(seed):
    rng = random.Random(seed)
    target = rng.choice(list(RIGHT))
    right, part = RIGHT[target], random_formula(rng, rng.randint(1, 3))
    rewritten = [f"({right})*({part})/({part})", f"{right} + ({part}) - ({part})"]
    rewritten.append(f"t = {part}\n({right})*sqrt(t**2 + 1)/sqrt(1 + t*t)")
    for formula, excluded in (
        (rng.choice(rewritten), Verdict.REFUTED),
        (f"{right} + x*s + 0*({part})", Verdict.PROVED),
    ):
        try:
            judgement = judge(formula, target)
        except FormulaError:  # a sum of what is none, a root of what is negative everywhere
            continue
        assert judgement.claim.verdict is not excluded, judgement.text()


def random_forward(rng: random.Random, depth: int) -> str:
    if not depth:
        return rng.choice(["x", "x", "a", "b", "eps", "m", "mu", "x_hat", "2", "mean(x**2)", "sum(x)", "s", "t"])
    a, b = random_forward(rng, depth - 1), random_forward(rng, rng.randrange(depth))
    forms = [f"({a} - {b})", f"{a}*{b}", f"({a})/({b})", f"sqrt({a})", f"sum({a})", f"({a})**2", f"({a})**-0.5"]
    return rng.choice([*forms, f"{a}/sqrt(mean(({b})**2) + eps)", f"{a}/sqrt(sum(({b})**2) + m*eps)"])


@pytest.mark.parametrize("seed", range(40))
def test_any_forward_pass_has_a_verdict_or_a_refusal(seed):
    rng = random.Random(seed)
    forward, target = random_forward(rng, rng.randint(1, 2)), rng.choice(["dx", "da", "db", "depsilon"])
    formula = rng.choice(["delta", "y*delta", "sum(delta)", "delta - mean(delta)", "0", "y"])
    try:
        judgement = judge(formula, target, forward=forward, elements=("t",))
    except FormulaError:
        return
    assert judgement.text()


def test_a_value_per_element_for_one_per_channel_is_told_as_that():
    assert "∂L/∂γ is one number a channel, but the formula has a value for each" in judge("dout*xhat", "dgamma").text()
    for formula, target in (("np.sum(dout*xhat, axis=0)", "dgamma"), ("dout*gamma", "dx_hat")):
        assert "one number a channel" not in judge(formula, target).text()


def test_what_is_missing_is_shown_only_where_something_is():
    for formula, target in (("sum(delta)*sqrt(x**2)/sqrt(x**2)", "dbeta"), ("sqrt(-gamma**2)", "dx")):
        assert "missing" not in judge(formula, target).text()


def test_a_contradiction_is_no_verdict(monkeypatch, capsys):
    def contradicting(*_, **__):
        raise Disagreement("one says this, the other that")

    monkeypatch.setattr(command, "judge", contradicting)
    assert command.main(["check", "delta"]) == 3
    assert "no verdict" in capsys.readouterr().err


@given(st.text(alphabet="x+-*/()0123.=;\n sqrtmeanugavdlp_h,[]δ·²Σⱼ√⟨⟩", max_size=40))
@settings(max_examples=150)
def test_any_text_is_judged_or_refused(text):
    refused = None
    try:
        judge(text)
    except FormulaError as error:
        refused = error
    assert refused is None or 0 <= refused.position <= len(text)
