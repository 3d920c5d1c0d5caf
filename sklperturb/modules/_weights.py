"""The weights of a module as arrays, a module that is no larger, and its device."""

import numpy as np
import torch
from torch.nn.modules.module import register_module_parameter_registration_hook


def check_device(device, allowed="device='cpu'"):
    """Return a device of torch that this machine has.

    Parameters
    ----------
    device : str
    allowed : str, default="device='cpu'"
        What to pass in place of one that it lacks.

    Returns
    -------
    device : torch.device
    """
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={device!r} cannot be used: {str(error).rstrip('.')}. Pass "
            f"{allowed}, or one that torch finds on this machine."
        ) from error
    return found


def take_weights(module):
    """Return the weights and buffers of a module as arrays, by name.

    Parameters
    ----------
    module : torch.nn.Module

    Returns
    -------
    weights : dict of str to ndarray
    """
    return {name: v.detach().cpu().numpy() for name, v in module.state_dict().items()}


def check_weights(build, arguments, weights):
    """Raise unless a module has these weights, before memory is taken for it.

    Parameters
    ----------
    build : callable
        Returns the module, called with the arguments.
    arguments : dict of str to object
    weights : dict of str to ndarray

    Raises
    ------
    ValueError
        If their names, shapes or types are others, or the module has more.
    """
    size, left = sum(value.size for value in weights.values()), len(weights)
    largest = max(_numbers(arguments), default=0)
    if largest > size:
        raise ValueError(f"a network of {size} weights cannot have a size of {largest}")

    def count(module, name, parameter):
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(f"the network has more than {len(weights)} weights")

    counting = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"):  # takes no memory
            state = build(**arguments).state_dict()
    finally:
        counting.remove()
    expected = {name: (tuple(v.shape), v.dtype) for name, v in state.items()}
    found = {name: (v.shape, _dtype_of(v)) for name, v in weights.items()}
    for name in [*expected, *found]:
        if expected.get(name) != found.get(name):
            raise ValueError(
                f"the weights {name!r} are {found.get(name)}, and those of the network "
                f"{expected.get(name)}"
            )


def load_weights(module, weights):
    """Give a module its weights.

    Parameters
    ----------
    module : torch.nn.Module
    weights : dict of str to ndarray

    Returns
    -------
    module : torch.nn.Module
        In evaluation mode.
    """
    module.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in weights.items()})
    return module.eval()


def _numbers(value):
    """Yield the numbers of a value, in lists and dictionaries, too."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float):
        yield abs(value)


def _dtype_of(array):
    return torch.from_numpy(np.empty(0, array.dtype)).dtype
