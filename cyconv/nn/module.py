"""What all layers are made of: parameters, modules, chains of modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from cyconv._arrays import Array

Shape = tuple[int, ...]


class Parameter:
    """An array that is learned, and the gradient of the loss with respect to it.

    Attributes
    ----------
    data : ndarray
        The numbers; optimisers change them in place.
    grad : ndarray or None
        What the backward passes since the last :meth:`zero_grad` have added up.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv.nn import Parameter
    >>> Parameter(np.zeros((2, 3))).shape
    (2, 3)
    """

    def __init__(self, data: Array) -> None:
        self.data = np.asarray(data)
        self.grad: Array | None = None

    @property
    def shape(self) -> Shape:
        """Shape of the data."""
        return self.data.shape

    @property
    def size(self) -> int:
        """Count of the numbers."""
        return self.data.size

    def add_grad(self, grad: Array) -> None:
        """Add to the gradient."""
        if self.grad is None:
            self.grad = grad
        else:
            self.grad = self.grad + grad

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.grad = None

    def __repr__(self) -> str:
        return f"Parameter(shape={self.shape}, dtype={self.data.dtype})"


class Module:
    """A layer, or a model made of layers.

    A subclass has :meth:`forward`, which keeps what :meth:`backward` needs, and :meth:`backward`, which takes the
    gradient of the result, adds to ``Parameter.grad`` and returns the gradient of the input; it gives up what was
    kept, so that each backward pass needs a forward pass of its own. Parameters and modules that are attributes, or
    in a list that is one, are found by name, in the order in which they were assigned.

    Attributes
    ----------
    training : bool
        What :meth:`train` and :meth:`eval` set; BatchNorm and Dropout ask for it.
    needs_input_grad : bool
        False on the first layer of a model spares the gradient of the data: its :meth:`backward` returns None.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> class Double(nn.Module):
    ...     def forward(self, x):
    ...         return 2 * x
    ...     def backward(self, grad):
    ...         return 2 * grad
    >>> Double()(np.array([1.0, 2.0]))
    array([2., 4.])
    """

    #: names of the arrays that belong to the state but are not learned
    buffers: tuple[str, ...] = ()
    training = True
    needs_input_grad = True

    def forward(self, x: Array) -> Array:
        """Compute the result for x."""
        raise TypeError(f"{type(self).__name__} has no forward()")

    def backward(self, grad: Array) -> Array | None:
        """Take the gradient of the last result; return that of its input."""
        raise TypeError(f"{type(self).__name__} has no backward()")

    def __call__(self, x: Array) -> Array:
        """The same as :meth:`forward`."""
        return self.forward(x)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result for an input of this shape; most layers keep it."""
        return shape

    def flops(self, shape: Shape) -> int:
        """FLOPs of one forward pass for an input of this shape, a multiply-add counted as two."""
        return 0

    def receptive_field_layer(self) -> Mapping[str, Any] | Iterable[Any] | None:
        """This layer as :func:`cyconv.receptive_field` wants it; None: it works cell by cell."""
        return None

    def saved(self, name: str) -> Any:
        """The attribute that :meth:`forward` set, or an error that says that it did not run.

        It is given up: going back, the memory of each layer serves those before it.
        """
        value = getattr(self, name)
        if value is None:
            raise RuntimeError(f"{type(self).__name__}.backward() needs a forward pass before it")
        setattr(self, name, None)
        return value

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules that are attributes of this one, with their names."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, (list, tuple)):
                yield from ((f"{name}.{i}", item) for i, item in enumerate(value) if isinstance(item, Module))

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all modules in it, with their full names."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their full names."""
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    yield (f"{prefix}.{name}" if prefix else name), value

    def parameters(self) -> list[Parameter]:
        """All parameters, in a fixed order."""
        return [parameter for _, parameter in self.named_parameters()]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def train(self, mode: bool = True) -> Module:
        """Switch to training mode, or with False to evaluation mode; return the module."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch to evaluation mode; return the module."""
        return self.train(False)

    def _state(self) -> Iterator[tuple[str, Module, str, Array]]:
        """(full name, owner, name, array) of everything that belongs to the state."""
        for prefix, module in self.named_modules():
            lead = f"{prefix}." if prefix else ""
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    yield lead + name, module, name, value.data
                elif name in module.buffers:
                    yield lead + name, module, name, value

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers, by name; the names and shapes are those of PyTorch.

        Returns
        -------
        dict of str to ndarray

        Examples
        --------
        >>> from cyconv import nn
        >>> list(nn.Sequential(nn.Conv2D(1, 6, 5), nn.ReLU(), nn.Linear(10, 2)).state_dict())
        ['0.weight', '0.bias', '2.weight', '2.bias']
        """
        return {name: array.copy() for name, _, _, array in self._state()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take parameters and buffers from a mapping of names to arrays, such as a PyTorch model's ``state_dict``.

        Parameters
        ----------
        state : mapping of str to array_like
            Arrays, or tensors that NumPy can read. Their dtype is converted to that of the model.
        strict : bool
            Refuse missing and unknown names.

        Raises
        ------
        KeyError
            If names are missing or unknown.
        TypeError, ValueError
            If something is not an array of real numbers, or has another shape. The model is then as it was.
        """
        own = {name: (module, key, array) for name, module, key, array in self._state()}
        missing = [name for name in own if name not in state]
        unknown = [name for name in state if name not in own]
        if strict and (missing or unknown):
            raise KeyError(f"state does not fit the model: missing {missing}, unknown {unknown}")
        found: list[tuple[Module, str, Array]] = []
        for name, (module, key, array) in own.items():
            if name not in state:
                continue
            try:
                value = np.asarray(state[name])
            except Exception as error:  # whatever a foreign tensor raises
                raise TypeError(f"state[{name!r}] cannot be read as an array: {error}") from error
            if value.dtype.kind not in "fiub" and value.dtype.name != "bfloat16":
                raise TypeError(f"state[{name!r}] must hold real numbers, got dtype {value.dtype}")
            if value.shape != array.shape:
                raise ValueError(f"state[{name!r}] must have shape {array.shape}, got {value.shape}")
            found.append((module, key, value.astype(array.dtype)))
        for module, key, value in found:
            held = getattr(module, key)
            if isinstance(held, Parameter):
                held.data = value
            else:
                setattr(module, key, value)

    def __repr__(self) -> str:
        children = "".join(
            f"\n  ({name}): " + repr(child).replace("\n", "\n  ") for name, child in self.named_children()
        )
        return f"{type(self).__name__}({self.describe()}{children}{chr(10) if children else ''})"

    def describe(self) -> str:
        """What stands between the brackets of ``repr``."""
        return ""


class Sequential(Module):
    """Layers one after the other.

    Parameters
    ----------
    *layers : Module
        From input to output.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> model = nn.Sequential(nn.Conv2D(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2D(2))
    >>> model(np.zeros((1, 1, 8, 8), np.float32)).shape
    (1, 4, 4, 4)
    >>> len(model), model[1]
    (3, ReLU())
    """

    def __init__(self, *layers: Module) -> None:
        for layer in layers:
            if not isinstance(layer, Module):
                raise TypeError(f"layers must be modules, got {layer!r} of type {type(layer).__name__}")
        self._layers = layers

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The layers, named by their positions."""
        yield from ((str(i), layer) for i, layer in enumerate(self._layers))

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers)

    def __getitem__(self, index: int) -> Module:
        return self._layers[index]

    def forward(self, x: Array) -> Array:
        """Compute one layer after the other."""
        for layer in self._layers:
            x = layer.forward(x)
        return x

    def backward(self, grad: Array) -> Array | None:
        """Go back through the layers."""
        result: Array | None = grad
        for position in range(len(self._layers) - 1, -1, -1):
            if result is None:
                raise RuntimeError(f"layer {position + 1} of a model of {len(self)} must need its input's gradient")
            result = self._layers[position].backward(result)
        return result

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the last layer's result."""
        for layer in self._layers:
            shape = layer.output_shape(shape)
        return shape

    def flops(self, shape: Shape) -> int:
        """FLOPs of all layers."""
        total = 0
        for layer in self._layers:
            total += layer.flops(shape)
            shape = layer.output_shape(shape)
        return total

    def receptive_field_layer(self) -> Iterable[Any]:
        """The layers."""
        return self._layers


class Residual(Module):
    """``body(x) + shortcut(x)``: a skip connection.

    Parameters
    ----------
    body : Module
        What the connection skips.
    shortcut : Module, optional
        What changes x to the shape of the body's result; without it x itself is added.

    Examples
    --------
    >>> import numpy as np
    >>> from cyconv import nn
    >>> block = nn.Residual(nn.ReLU())
    >>> block(np.array([-1.0, 2.0]))
    array([-1.,  4.])
    >>> block.backward(np.array([1.0, 1.0]))
    array([1., 2.])
    """

    def __init__(self, body: Module, shortcut: Module | None = None) -> None:
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Array) -> Array:
        """Compute both ways and add them."""
        y, aside = self.body(x), x if self.shortcut is None else self.shortcut(x)
        if y.shape != aside.shape:
            raise ValueError(f"body and shortcut must give the same shape, got {y.shape} and {aside.shape}")
        return y + aside

    def backward(self, grad: Array) -> Array | None:
        """Go back both ways and add the gradients."""
        inner = self.body.backward(grad)
        aside = grad if self.shortcut is None else self.shortcut.backward(grad)
        return None if inner is None or aside is None else inner + aside

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the body's result."""
        return self.body.output_shape(shape)

    def flops(self, shape: Shape) -> int:
        """FLOPs of both ways."""
        return self.body.flops(shape) + (0 if self.shortcut is None else self.shortcut.flops(shape))

    def receptive_field_layer(self) -> Mapping[str, Any]:
        """Two branches."""
        return {"parallel": [[self.body], [] if self.shortcut is None else [self.shortcut]]}
