"""Expressions in the field's notation: Unicode for the terminal, LaTeX for papers. Both print what is proved."""

from typing import Any

import sympy as sp
from sympy import Add, Expr, Mul, Pow, Sum
from sympy.printing.latex import LatexPrinter
from sympy.printing.str import StrPrinter

from derivations.notation import Partial

_UNICODE = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "mu": "μ", "xhat": "x̂", "g_mu": "g_μ",
    "r0": "r₀", "mu1": "μ₁", "mu2": "μ₂", "v1": "v₁", "v2": "v₂", "n1": "n₁", "n2": "n₂", "phat": "p̂", "deltap": "δ′",
    "yp": "y′", "yout": "y°", "deltaout": "δ°", "mean_ref": "μ_ref", "std_ref": "σ_ref", "u_gamma": "u_γ",
    "u_beta": "u_β", "Phi": "Φ", "rho": "ρ",
}  # fmt: skip
_LATEX = {
    "xhat": r"\hat{x}", "epsilon": r"\varepsilon", "g_mu": r"g_{\mu}", "g_v": "g_{v}", "phat": r"\hat{p}",
    "deltap": r"\delta'", "yp": "y'", "yout": r"y^{\circ}", "deltaout": r"\delta^{\circ}",
    "mean_ref": r"\mu_{\mathrm{ref}}", "std_ref": r"\sigma_{\mathrm{ref}}",
}  # fmt: skip
_LETTERS = "jlhpq"  # of nested sums, from the outside
_SUBSCRIPTS = str.maketrans("hijklmnpqrt0123456789", "ₕᵢⱼₖₗₘₙₚqᵣₜ₀₁₂₃₄₅₆₇₈₉")
SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def unicode(expression: Any) -> str:
    """The expression in Unicode.

    >>> print(unicode(1 / sp.Symbol("m") + sp.Symbol("gamma") ** 2))
    γ² + 1/m
    """
    return _Unicode().doprint(legible(sp.sympify(expression)))


def latex(expression: Any) -> str:
    """The same in LaTeX, without the dollar signs.

    >>> print(latex(sp.Symbol("gamma") ** 2))
    \\gamma^{2}
    """
    return _Latex().doprint(legible(sp.sympify(expression)))


def symbol_name(symbol: Any) -> str:
    """The name of a symbol in Unicode."""
    return _UNICODE.get(symbol.name, symbol.name)


def legible(e: Expr, depth: int = 0) -> Expr:
    """The same with the indices of nested sums named apart."""
    if not e.has(Sum):
        return e
    if isinstance(e, Sum):
        names = [sp.Dummy(_LETTERS[(depth + n) % len(_LETTERS)], integer=True) for n in range(len(e.limits))]
        renamed = dict(zip((limit[0] for limit in e.limits), names, strict=True))
        limits = [(name, *limit[1:]) for name, limit in zip(names, e.limits, strict=True)]
        return Sum(legible(e.function.xreplace(renamed), depth + len(names)), *limits)
    return e.func(*(legible(arg, depth) for arg in e.args))


def factor_order(factor: Expr) -> int:
    """Numbers, symbols, elements, brackets, sums: the last may stand without brackets of its own."""
    rank = next((n for n, kind in enumerate((sp.Symbol, sp.Indexed, Partial)) if factor.atoms(kind)), 0)
    return 4 if isinstance(factor, Sum) else 3 if isinstance(factor, Add) else rank


def ordered_terms(e: Add) -> list[Expr]:
    """The terms of a sum, the positive ones first, the short ones before the long ones."""
    return sorted(e.as_ordered_terms(), key=lambda term: (term.could_extract_minus_sign(), term.count_ops()))


class _Unicode(StrPrinter):
    printmethod = "_unicode"  # not "_sympystr", by which elements print themselves as x[k]

    def _print_Symbol(self, e: sp.Symbol) -> str:
        return _UNICODE.get(e.name, e.name)

    _print_Dummy = _print_Symbol

    def _print_Indexed(self, e: sp.Indexed) -> str:
        return self._print(e.base.label) + ",".join(map(self._subscript, e.indices))

    def _print_Abs(self, e: Expr) -> str:
        return f"|{self._print(e.args[0])}|"

    def _print_KroneckerDelta(self, e: Expr) -> str:
        return "[{} = {}]".format(*(self._print(arg) for arg in e.args))

    def _print_Partial(self, e: Partial) -> str:
        return f"∂{self._factor(e.of)}/∂{self._print(e.wrt)}"

    def _print_Sum(self, e: Sum) -> str:
        signs = "".join(f"Σ{self._subscript(limit[0])}" for limit in reversed(e.limits))
        return f"{signs} {self._factor(e.function, last=True)}"

    def _print_Add(self, e: Add, order: Any = None) -> str:
        text = ""
        for term in ordered_terms(e):
            negative = term.could_extract_minus_sign()
            printed = self._print(-term if negative else term)
            if isinstance(-term, Add) and negative:
                printed = f"({printed})"
            text += (" − " if negative else " + ") + printed if text else ("−" if negative else "") + printed
        return text

    def _print_Mul(self, e: Mul) -> str:
        if e.could_extract_minus_sign() and not isinstance(-e, Add):
            return "−" + self._factor(-e, last=True)
        numerator, denominator = [], []
        for factor in e.as_ordered_factors():
            if isinstance(factor, sp.Rational):
                numerator += [sp.Integer(factor.p)] if factor.p != 1 else []
                denominator += [sp.Integer(factor.q)] if factor.q != 1 else []
            elif isinstance(factor, Pow) and factor.exp.is_Integer and factor.exp < 0:
                denominator.append(1 / factor)
            else:
                numerator.append(factor)
        numerator.sort(key=factor_order)
        top = "·".join(self._factor(f, last=f is numerator[-1]) for f in numerator) or "1"
        if not denominator:
            return top
        bottom = "·".join(map(self._factor, denominator))
        return f"{top}/({bottom})" if len(denominator) > 1 else f"{top}/{bottom}"

    def _print_Pow(self, e: Pow, rational: bool = False) -> str:
        if e.exp == -1:
            return "1/" + self._factor(e.base)
        if e.exp.is_Integer:
            return self._factor(e.base) + str(e.exp).translate(SUPERSCRIPTS)
        return f"{self._factor(e.base)}^({str(e.exp).replace('-', '−')})"

    def _factor(self, e: Expr, last: bool = False) -> str:
        """``e`` as a factor: in brackets where it would be read otherwise."""
        bare = e.is_Atom or isinstance(e, sp.Indexed | Partial | sp.KroneckerDelta)
        if last:
            bare = bare or not isinstance(e, Add)
        elif isinstance(e, Pow):
            bare = e.exp != -1
        return self._print(e) if bare else f"({self._print(e)})"

    def _subscript(self, index: Expr) -> str:
        name = self._print(index)
        lowered = name.translate(_SUBSCRIPTS)
        return lowered if lowered != name else f"_{name}"


class _Latex(LatexPrinter):
    def _print_Symbol(self, e: sp.Symbol, style: str = "plain") -> str:
        return _LATEX.get(e.name) or super()._print_Symbol(e, style)

    _print_Dummy = _print_Symbol

    def _print_Indexed(self, e: sp.Indexed) -> str:
        return f"{self._print(e.base.label)}_{{{' '.join(map(self._print, e.indices))}}}"

    def _print_KroneckerDelta(self, e: Expr, exp: Any = None) -> str:
        return "[{} = {}]".format(*(self._print(arg) for arg in e.args))

    def _print_Partial(self, e: Partial) -> str:
        return rf"\frac{{\partial {self._print(e.of)}}}{{\partial {self._print(e.wrt)}}}"

    def _print_Add(self, e: Add, order: Any = None) -> str:
        text = ""
        for term in ordered_terms(e):
            negative = term.could_extract_minus_sign()
            printed = self._print(-term if negative else term)
            text += (" - " if negative else " + ") + printed if text else ("- " if negative else "") + printed
        return text
