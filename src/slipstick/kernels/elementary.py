"""The chains of one operation that several families of operators share."""

from slipstick.kernels.elementwise import Value, chain


@chain
def add(a: Value, b: Value) -> Value:
    return a + b


@chain
def sub(a: Value, b: Value) -> Value:
    return a - b


@chain
def mul(a: Value, b: Value) -> Value:
    return a * b


@chain
def div(a: Value, b: Value) -> Value:
    return a / b


@chain
def negative(x: Value) -> Value:
    return -x


@chain
def square(x: Value) -> Value:
    return x * x


@chain
def root(x: Value) -> Value:
    return x.sqrt()


@chain
def squared_difference(x: Value, y: Value) -> Value:
    d = x - y
    return d * d
