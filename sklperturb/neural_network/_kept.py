"""What a model file keeps of a network: arguments, weights and history."""

import numpy as np
import torch

from sklperturb.modules._weights import check_weights, load_weights, take_weights

# Of net_params, what a net of a file is built with: numbers, and names that the file
# may hold. The others are parameters of the next fit; some of them start programs.
_BUILT_WITH = ("batch_size", "criterion", "lr", "max_epochs", "module", "optimizer")
_MANY = 10**6  # rows, of which any share is a number of rows


class KeptNetMixin:
    """Let model files hold a regressor with a net that skorch trained."""

    def _to_file(self):
        state = dict(vars(self))
        if "net_" in state:
            state["net_"] = self._take_net()
        return state

    @classmethod
    def _from_file(cls, state):
        """Return the regressor of what `_to_file` gave an untrusted file."""
        regressor = cls.__new__(cls)
        vars(regressor).update({k: v for k, v in state.items() if k != "net_"})
        regressor._validate_params()
        if "net_" in state:
            with torch.random.fork_rng([]):
                regressor.net_ = regressor._restore_net(**state["net_"])
        return regressor

    def _take_net(self):
        rows = [{**row, "batches": []} for row in self.net_.history]
        return {
            "arguments": self.net_.get_params_for("module"),
            "weights": take_weights(self.net_.module_),
            "history": rows,
        }

    def _restore_net(self, arguments, weights, history):
        check_weights(self._module, arguments, weights)
        given = {
            name: value
            for name, value in (self.net_params or {}).items()
            if name.partition("__")[0] in _BUILT_WITH
        }
        given |= {f"module__{name}": value for name, value in arguments.items()}
        shell = type(self).__new__(type(self))
        changed = {"net_params": given, "device": usable_device(self.device)}
        vars(shell).update(vars(self) | changed)
        targets = np.broadcast_to(np.float32(0), (_MANY, 1))
        net = shell._make_net(targets, 0)
        if net.get_params_for("module") != arguments:
            raise ValueError("the network and its regressor have different sizes")
        net.initialize()
        load_weights(net.module_, weights)
        net.history.extend(dict(row) for row in history)
        return net


def usable_device(device):
    """Return a device, or the CPU where it is a GPU that this machine lacks."""
    is_there = torch.device(device).type != "cuda" or torch.cuda.is_available()
    return device if is_there else "cpu"
