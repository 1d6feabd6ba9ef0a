"""Expressions as presentation MathML, which browsers show without any script."""

from html import escape
from typing import Any

import sympy as sp
from sympy import Add, Expr, Indexed, KroneckerDelta, Mul, Pow, Sum

from derivations.notation import Partial
from derivations.notation.printing import factor_order, legible, ordered_terms, symbol_name


def mathml(expression: Any) -> str:
    """The expression as the content of a ``<math>`` element."""
    return _row(legible(sp.sympify(expression)))


def math(*parts: str) -> str:
    """A chain of equal parts as one element."""
    return f'<math display="block"><mrow>{_operator("=").join(parts)}</mrow></math>'


def text(name: str) -> str:
    """What a function returned, by name."""
    return f"<mtext>{escape(name)}</mtext>"


def _operator(sign: str) -> str:
    return f"<mo>{sign}</mo>"


def _row(e: Expr) -> str:
    if isinstance(e, Add):
        return _sum_of_terms(e)
    if isinstance(e, Mul) and e.could_extract_minus_sign() and not isinstance(-e, Add):
        return f"<mrow>{_operator('−')}{_factor(-e)}</mrow>"
    if isinstance(e, Mul):
        return _product(e)
    if isinstance(e, Pow):
        return _power(e)
    if isinstance(e, Sum):
        signs = "".join(f"<munder>{_operator('∑')}{_row(limit[0])}</munder>" for limit in reversed(e.limits))
        return f"<mrow>{signs}{_factor(e.function)}</mrow>"
    if isinstance(e, Indexed):
        return f"<msub>{_name(e.base.label)}<mrow>{''.join(map(_row, e.indices))}</mrow></msub>"
    if isinstance(e, KroneckerDelta):
        a, b = e.args
        return f"<mrow>{_operator('[')}{_row(a)}{_operator('=')}{_row(b)}{_operator(']')}</mrow>"
    if isinstance(e, Partial):
        return f"<mfrac><mrow><mo>∂</mo>{_factor(e.of)}</mrow><mrow><mo>∂</mo>{_row(e.wrt)}</mrow></mfrac>"
    if e.is_Rational:
        return f"<mn>{e.p}</mn>" if e.q == 1 else f"<mfrac><mn>{e.p}</mn><mn>{e.q}</mn></mfrac>"
    return _name(e)


def _name(symbol: Any) -> str:
    name, _, below = symbol_name(symbol).partition("_")
    shown = f"<mi>{escape(name)}</mi>"
    return f"<msub>{shown}<mi>{escape(below)}</mi></msub>" if below else shown


def _sum_of_terms(e: Add) -> str:
    parts: list[str] = []
    for term in ordered_terms(e):
        negative = term.could_extract_minus_sign()
        shown = term if not negative else -term
        if negative or parts:
            parts.append(_operator("−" if negative else "+"))
        parts.append(_bracketed(shown) if isinstance(shown, Add) else _row(shown))
    return f"<mrow>{''.join(parts)}</mrow>"


def _product(e: Mul) -> str:
    above, below = [], []
    for factor in e.as_ordered_factors():
        if factor.is_Rational:
            above += [sp.Integer(factor.p)] if factor.p != 1 else []
            below += [sp.Integer(factor.q)] if factor.q != 1 else []
        elif isinstance(factor, Pow) and factor.exp.is_Rational and factor.exp < 0:
            below.append(1 / factor)
        else:
            above.append(factor)
    above.sort(key=factor_order)
    # Only the last sum may stand without brackets: what follows a sum would be read into it.
    shown = [_row(f) if f is above[-1] and isinstance(f, Sum) else _factor(f, sums=True) for f in above]
    top = "<mo>⁢</mo>".join(shown) or "<mn>1</mn>"
    if not below:
        return f"<mrow>{top}</mrow>"
    bottom = _row(below[0]) if len(below) == 1 else "".join(_factor(factor, sums=True) for factor in below)
    return f"<mfrac><mrow>{top}</mrow><mrow>{bottom}</mrow></mfrac>"


def _power(e: Pow) -> str:
    if e.exp == sp.Rational(1, 2):
        return f"<msqrt>{_row(e.base)}</msqrt>"
    if e.exp.is_Rational and e.exp < 0:
        return f"<mfrac><mn>1</mn>{_row(1 / e)}</mfrac>"
    return f"<msup>{_factor(e.base, sums=True)}{_row(e.exp)}</msup>"


def _factor(e: Expr, sums: bool = False) -> str:
    return _bracketed(e) if isinstance(e, Add) or (sums and isinstance(e, Sum)) else _row(e)


def _bracketed(e: Expr) -> str:
    return f"<mrow>{_operator('(')}{_row(e)}{_operator(')')}</mrow>"
