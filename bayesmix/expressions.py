"""Formulas of numbers as expressions: a density, written once with the namespace, is traced and differentiated.

Called with `column` and `parameter` in place of arrays, a density returns an `Expression`: a node that knows the
operation and the nodes it was made of. Equal nodes are one object, so that what derivatives share with the density,
and with each other, is computed once. `bayesmix.likelihood.generate` writes compiled passes from them; `evaluate` is
the same in NumPy.

Differentiation is that of every textbook (Griewank & Walther 2008, *Evaluating Derivatives*, ch. 3), with two rules of
its own: a derivative of ``where`` is the ``where`` of the derivatives, so that what is not selected can be infinite or
NaN; and functions with a tail come as logarithms (`log_ndtr`), whose derivatives are finite there.
"""

import functools
import hashlib
import math
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

INCOMPLETE_GAMMA = (  # logarithms of the regularised functions, and their first and second derivatives in the shape
    "log_gammainc",
    "log_gammaincc",
    "gammainc_slope",
    "gammaincc_slope",
    "gammainc_bend",
    "gammaincc_bend",
)
INCOMPLETE_BETA = (  # the same, at logit(x)
    "log_betainc",
    "betainc_slope_a",
    "betainc_slope_b",
    "betainc_bend_aa",
    "betainc_bend_ab",
    "betainc_bend_bb",
)
_KNOWN: WeakValueDictionary = WeakValueDictionary()
_SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}


class Expression:
    """A number that depends on columns of a row and on parameters of a component; compare with ``is``."""

    __slots__ = ("__weakref__", "arguments", "code", "of_data", "of_parameters", "operation")

    operation: str
    arguments: tuple
    of_data: bool
    of_parameters: bool
    code: int  # the same for the same expression in every process

    def __add__(self, other):
        return add(self, other)

    __radd__ = __add__

    def __sub__(self, other):
        return sub(self, other)

    def __rsub__(self, other):
        return sub(other, self)

    def __mul__(self, other):
        return mul(self, other)

    __rmul__ = __mul__

    def __truediv__(self, other):
        return div(self, other)

    def __rtruediv__(self, other):
        return div(other, self)

    def __pow__(self, exponent):
        return power(self, exponent)

    def __rpow__(self, base):
        return power(base, self)

    def __neg__(self):
        return negative(self)

    def __pos__(self):
        return self

    def __abs__(self):
        return make("abs", self)

    def __lt__(self, other):
        return make("lt", self, other)

    def __le__(self, other):
        return make("le", self, other)

    def __gt__(self, other):
        return make("lt", other, self)

    def __ge__(self, other):
        return make("le", other, self)

    def __and__(self, other):
        return make("and", self, other)

    __rand__ = __and__

    def __or__(self, other):
        return make("or", self, other)

    __ror__ = __or__

    def __invert__(self):
        return make("not", self)

    def __bool__(self):
        raise TypeError(
            "a density is traced with symbols, which are neither true nor false: write xp.where(condition, a, b) in place "
            "of if, and & and | in place of and, or."
        )

    def __float__(self):
        if self.operation == "constant":
            return self.arguments[0]
        raise TypeError(
            "a density is traced with symbols, which have no value: use the functions of namespace(x, ...), for example "
            "xp.log, in place of NumPy's or of math's."
        )

    def __array__(self, *args, **kwargs):
        float(self)

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        """Operators of NumPy's scalars are ours; its functions need numbers."""
        if ufunc.__name__ in _OPERATORS and method == "__call__" and not kwargs:
            return _OPERATORS[ufunc.__name__](*inputs)
        return ufunc(*(float(value) for value in inputs), **kwargs)

    def __repr__(self):
        if self.operation in ("constant", "column", "parameter"):
            return f"{self.arguments[0]:g}" if self.operation == "constant" else f"{self.operation}{self.arguments[0]}"
        inner = [repr(argument) for argument in self.arguments]
        if self.operation in _SYMBOLS:
            return f"({inner[0]} {_SYMBOLS[self.operation]} {inner[1]})"
        return f"{self.operation}({', '.join(inner)})"


# -- making ------------------------------------------------------------------------------------------------------------
def _node(operation: str, arguments: tuple, of_data: bool, of_parameters: bool) -> Expression:
    key = (operation, *(id(a) if isinstance(a, Expression) else repr(a) for a in arguments))
    found = _KNOWN.get(key)
    if found is None:
        found = Expression()
        found.operation, found.arguments = operation, arguments
        found.of_data, found.of_parameters = of_data, of_parameters
        words = (operation, *(a.code if isinstance(a, Expression) else a for a in arguments))
        found.code = int.from_bytes(hashlib.blake2b(repr(words).encode(), digest_size=8).digest())
        _KNOWN[key] = found
    return found


def constant(value: Any) -> Expression:
    """A number as an expression; what is one already is returned as it is."""
    if isinstance(value, Expression):
        return value
    array = np.asarray(value)
    if array.ndim:
        raise TypeError(
            f"a density is traced number by number, but it holds an array of shape {array.shape}; a density of one column "
            "is written with numbers, its column and its parameters."
        )
    return _node("constant", (float(array),), False, False)


def column(j: int) -> Expression:
    """Column j of the row."""
    return _node("column", (j,), True, False)


def parameter(i: int) -> Expression:
    """Parameter i of the component."""
    return _node("parameter", (i,), False, True)


class Row:
    """Columns of a row, to be taken apart as an array (..., column) is: ``x[..., :1]``, ``x[..., 2]``.

    One column is an `Expression`, which stands for an array with an axis of length 1 and without it alike.
    """

    def __init__(self, columns):
        self.columns = tuple(columns)

    def __getitem__(self, key):
        at = key[-1] if isinstance(key, tuple) else key
        found = self.columns[at]
        if isinstance(found, Expression):
            return found
        return found[0] if len(found) == 1 else Row(found)

    def __len__(self):
        return len(self.columns)


def make(operation: str, *arguments: Any) -> Expression:
    """An operation on expressions or numbers; constants are folded."""
    nodes = tuple(constant(argument) for argument in arguments)
    if operation in ("add", "mul") and nodes[0].code > nodes[1].code:
        nodes = nodes[::-1]  # one order for both: x y and y x are one node
    if all(node.operation == "constant" for node in nodes):
        with np.errstate(all="ignore"):
            return constant(float(NUMPY_OF[operation](*(np.float64(node.arguments[0]) for node in nodes))))
    return _node(operation, nodes, any(n.of_data for n in nodes), any(n.of_parameters for n in nodes))


def _is(node, value) -> bool:
    return isinstance(node, Expression) and node.operation == "constant" and node.arguments[0] == value


def add(a, b) -> Expression:
    """Sum: a + b."""
    a, b = constant(a), constant(b)
    if _is(a, 0.0):
        return b
    if _is(b, 0.0):
        return a
    if a is b:
        return mul(2.0, a)
    if a.operation == "neg":
        a, b = b, a
    return sub(a, b.arguments[0]) if b.operation == "neg" else make("add", a, b)


def sub(a, b) -> Expression:
    """Difference: a - b."""
    a, b = constant(a), constant(b)
    if a is b and a.operation != "constant":
        return constant(0.0)
    if _is(a, 0.0):
        return negative(b)
    if _is(b, 0.0):
        return a
    return add(a, b.arguments[0]) if b.operation == "neg" else make("sub", a, b)


def negative(a) -> Expression:
    """Negative: -a."""
    a = constant(a)
    return a.arguments[0] if a.operation == "neg" else make("neg", a)


def mul(a, b) -> Expression:
    """Product: a b; zero times anything is zero, as what is multiplied by a constant zero does not matter."""
    a, b = constant(a), constant(b)
    if _is(a, 0.0) or _is(b, 0.0):
        return constant(0.0)
    if _is(a, 1.0):
        return b
    if _is(b, 1.0):
        return a
    if _is(a, -1.0) or _is(b, -1.0):
        return negative(b if _is(a, -1.0) else a)
    if a.operation == "neg" or b.operation == "neg":
        both = a.operation == b.operation
        inner = mul(a.arguments[0] if a.operation == "neg" else a, b.arguments[0] if b.operation == "neg" else b)
        return inner if both else negative(inner)
    return make("mul", a, b)


def div(a, b) -> Expression:
    """Quotient: a / b."""
    a, b = constant(a), constant(b)
    if _is(a, 0.0):
        return a
    if a.operation == "neg":
        return negative(div(a.arguments[0], b))
    return a if _is(b, 1.0) else make("div", a, b)


def power(base, exponent) -> Expression:
    """Power: base ** exponent; whole exponents up to 4 become products."""
    base, exponent = constant(base), constant(exponent)
    if exponent.operation == "constant":
        n = exponent.arguments[0]
        if n in (1.0, 2.0, 3.0, 4.0):
            return functools.reduce(mul, [base] * int(n))
        if n == 0.5:
            return make("sqrt", base)
        if n in (-1.0, -2.0):
            return div(1.0, power(base, -n))
    return make("pow", base, exponent)


def where(condition, a, b) -> Expression:
    """`a` where the condition holds, `b` elsewhere."""
    condition, a, b = constant(condition), constant(a), constant(b)
    if condition.operation == "constant":
        return a if condition.arguments[0] else b
    return a if a is b else make("where", condition, a, b)


_OPERATORS = {
    "add": add,
    "subtract": sub,
    "multiply": mul,
    "divide": div,
    "power": power,
    "less": functools.partial(make, "lt"),
    "less_equal": functools.partial(make, "le"),
    "greater": lambda a, b: make("lt", b, a),
    "greater_equal": lambda a, b: make("le", b, a),
}


# -- in NumPy ----------------------------------------------------------------------------------------------------------
def _scipy(name):
    def function(*values):
        from scipy import special

        return getattr(special, name)(*values)

    return function


def _trigamma(x):
    from scipy.special import polygamma

    return polygamma(1, x)


def _log_i0e(x):
    from scipy.special import i0e

    return np.log(i0e(x))


def _bessel_ratio(x):
    from scipy.special import i0e, i1e

    return i1e(x) / i0e(x)


def _compiled(name, n_arguments=2):
    """A function of `bayesmix.likelihood.special` on arrays, compiled when it is first called."""

    @functools.cache
    def made():
        import numba

        from .likelihood import special

        signature = f"f8({','.join(['f8'] * n_arguments)})"
        return numba.vectorize([signature])(getattr(special, name).py_func)

    return lambda *values: made()(*values)


NUMPY_OF = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "pow": np.power,
    "abs": np.abs,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "floor": np.floor,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "where": np.where,
    "isnan": np.isnan,
    "gammaln": _scipy("gammaln"),
    "digamma": _scipy("psi"),
    "trigamma": _trigamma,
    "log_ndtr": _scipy("log_ndtr"),
    "log_i0e": _log_i0e,
    "bessel_ratio": _bessel_ratio,
}
NUMPY_OF |= {name: _compiled(name) for name in INCOMPLETE_GAMMA}
NUMPY_OF |= {name: _compiled(name, 3) for name in INCOMPLETE_BETA}


def evaluate(nodes: list[Expression], columns, parameters) -> list:
    """Values of expressions, by NumPy: columns and parameters are sequences of arrays that broadcast."""
    values: dict[int, Any] = {}
    with np.errstate(all="ignore"):
        for node in in_order(nodes):
            if node.operation == "constant":
                values[id(node)] = node.arguments[0]
            elif node.operation == "column":
                values[id(node)] = columns[node.arguments[0]]
            elif node.operation == "parameter":
                values[id(node)] = parameters[node.arguments[0]]
            else:
                values[id(node)] = NUMPY_OF[node.operation](*(values[id(a)] for a in node.arguments))
    return [values[id(node)] for node in nodes]


def in_order(nodes, known=()) -> list[Expression]:
    """All nodes that these are made of, themselves included, each after its arguments; below `known` ids nothing."""
    order, seen = [], set(known)
    stack = [(node, False) for node in reversed(list(nodes))]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((a, False) for a in reversed(node.arguments) if isinstance(a, Expression))
    return order


# -- derivatives -------------------------------------------------------------------------------------------------------
_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def _partial_log_ndtr(x, own):
    """The ratio of density and distribution function, from logarithms."""
    return make("exp", sub(mul(-0.5, mul(x, x)), add(own, _HALF_LOG_2PI)))


def _partial_bessel_ratio(x, own):
    """A' = 1 - A / x - A^2 (Mardia & Jupp 2000, eq. A.14); 1/2 at zero."""
    small = make("lt", x, 1e-8)
    safe = where(small, 1.0, x)
    return where(small, 0.5, sub(sub(1.0, div(own, safe)), mul(own, own)))


_PARTIALS: dict[str, Any] = {  # of functions of one argument x with value `own`
    "exp": lambda x, own: own,
    "expm1": lambda x, own: add(own, 1.0),
    "log": lambda x, own: div(1.0, x),
    "log1p": lambda x, own: div(1.0, add(1.0, x)),
    "sqrt": lambda x, own: div(0.5, own),
    "sin": lambda x, own: make("cos", x),
    "cos": lambda x, own: negative(make("sin", x)),
    "abs": lambda x, own: where(make("lt", x, 0.0), -1.0, where(make("eq", x, 0.0), 0.0, 1.0)),
    "floor": lambda x, own: constant(0.0),
    "gammaln": lambda x, own: make("digamma", x),
    "digamma": lambda x, own: make("trigamma", x),
    "log_ndtr": _partial_log_ndtr,
    "log_i0e": lambda x, own: sub(make("bessel_ratio", x), 1.0),
    "bessel_ratio": _partial_bessel_ratio,
}


def _partials_gammainc(which):
    """Partial derivatives of the logarithm of an incomplete gamma function, and of its derivative in the shape a.

    In x the logarithm has the slope r = +-x^(a-1) exp(-x) / (Gamma(a) P), whose own slope in a is
    r (log x - digamma(a) - slope in a).
    """
    value, slope, bend = f"log_{which}", f"{which}_slope", f"{which}_bend"

    def in_x(a, x, own):
        size = make("exp", sub(sub(sub(mul(sub(a, 1.0), make("log", x)), x), make("gammaln", a)), own))
        return size if which == "gammainc" else negative(size)

    def slope_in_x(a, x, own):
        return mul(in_x(a, x, make(value, a, x)), sub(sub(make("log", x), make("digamma", a)), own))

    return {
        value: (lambda a, x, own: make(slope, a, x), in_x),
        slope: (lambda a, x, own: make(bend, a, x), slope_in_x),
    }


def _betainc_in_u(a, b, u, own):
    """Slope of log I_x(a, b) in u = logit(x): x^a (1 - x)^b / (B(a, b) I), from logarithms."""
    log_x = negative(_softplus(negative(u)))
    log_beta = sub(add(make("gammaln", a), make("gammaln", b)), make("gammaln", add(a, b)))
    return make("exp", sub(sub(sub(mul(a, log_x), mul(b, _softplus(u))), log_beta), own))


def _softplus(u):
    """log(1 + exp(u)), without overflow."""
    left = make("lt", u, 0.0)
    return add(where(left, 0.0, u), make("log1p", make("exp", where(left, u, negative(u)))))


def _slope_in_u(which):
    """Slope in u of the derivative in a or b: that of the logarithm, times (log x - its mean) of a density of t."""

    def slope(a, b, u, own):
        r = _betainc_in_u(a, b, u, make("log_betainc", a, b, u))
        at_end = negative(_softplus(negative(u) if which == "a" else u))
        shape = make("digamma", a if which == "a" else b)
        return mul(r, sub(add(sub(at_end, shape), make("digamma", add(a, b))), own))

    return slope


def _made(operation):
    return lambda *arguments: make(operation, *arguments[:-1])


_PARTIALS_OF_MORE: dict[str, Any] = (  # of functions of several arguments, with value `own` behind them
    _partials_gammainc("gammainc")
    | _partials_gammainc("gammaincc")
    | {
        "log_betainc": (_made("betainc_slope_a"), _made("betainc_slope_b"), _betainc_in_u),
        "betainc_slope_a": (_made("betainc_bend_aa"), _made("betainc_bend_ab"), _slope_in_u("a")),
        "betainc_slope_b": (_made("betainc_bend_ab"), _made("betainc_bend_bb"), _slope_in_u("b")),
    }
)

_TRUTHS = ("lt", "le", "eq", "and", "or", "not", "isnan")  # true or false: of no slope


def derivative(node: Expression, wanted: Expression, known: dict | None = None) -> Expression:
    """Derivative of an expression in a parameter or a column; `known` remembers those of its parts."""
    known = {} if known is None else known
    for part in in_order([node]):
        if id(part) not in known:
            known[id(part)] = _derivative(part, wanted, known)
    return known[id(node)]


def _derivative(node, wanted, known):
    if node is wanted:
        return constant(1.0)
    operation, arguments = node.operation, node.arguments
    if operation in ("constant", "column", "parameter", *_TRUTHS):
        return constant(0.0)
    inner = [known[id(argument)] for argument in arguments]
    if all(_is(slope, 0.0) for slope in inner):
        return constant(0.0)
    if operation == "add":
        return add(*inner)
    if operation == "sub":
        return sub(*inner)
    if operation == "neg":
        return negative(inner[0])
    if operation == "mul" and arguments[0] is arguments[1]:
        return mul(mul(2.0, arguments[0]), inner[0])
    if operation == "mul":
        return add(mul(inner[0], arguments[1]), mul(arguments[0], inner[1]))
    if operation == "div":
        return div(sub(inner[0], mul(node, inner[1])), arguments[1])
    if operation == "where":
        return where(arguments[0], inner[1], inner[2])
    if operation == "pow":
        base, exponent = arguments
        of_base = mul(mul(exponent, power(base, sub(exponent, 1.0))), inner[0])
        return of_base if _is(inner[1], 0.0) else add(of_base, mul(mul(node, make("log", base)), inner[1]))
    if operation in _PARTIALS_OF_MORE:
        pairs = zip(_PARTIALS_OF_MORE[operation], inner, strict=True)
        terms = [mul(partial(*arguments, node), slope) for partial, slope in pairs if not _is(slope, 0.0)]
        return functools.reduce(add, terms)
    if operation not in _PARTIALS:
        raise NotImplementedError(f"{operation} has no derivative here; a density must not depend on one.")
    return mul(_PARTIALS[operation](arguments[0], node), inner[0])


# -- what a density says of itself ---------------------------------------------------------------------------------------
class Namespace:
    """The functions of `bayesmix.arrays.namespace`, on expressions; `arrays` adds those built from them."""

    exp = staticmethod(functools.partial(make, "exp"))
    expm1 = staticmethod(functools.partial(make, "expm1"))
    log = staticmethod(functools.partial(make, "log"))
    log1p = staticmethod(functools.partial(make, "log1p"))
    sqrt = staticmethod(functools.partial(make, "sqrt"))
    abs = staticmethod(functools.partial(make, "abs"))
    floor = staticmethod(functools.partial(make, "floor"))
    sin = staticmethod(functools.partial(make, "sin"))
    cos = staticmethod(functools.partial(make, "cos"))
    equal = staticmethod(functools.partial(make, "eq"))
    isnan = staticmethod(functools.partial(make, "isnan"))
    gammaln = staticmethod(functools.partial(make, "gammaln"))
    digamma = staticmethod(functools.partial(make, "digamma"))
    log_ndtr = staticmethod(functools.partial(make, "log_ndtr"))
    log_gammainc = staticmethod(functools.partial(make, "log_gammainc"))
    log_gammaincc = staticmethod(functools.partial(make, "log_gammaincc"))
    log_betainc = staticmethod(functools.partial(make, "log_betainc"))
    log_i0e = staticmethod(functools.partial(make, "log_i0e"))
    where = staticmethod(where)
    asarray = staticmethod(constant)
    constant = staticmethod(lambda x: x)
