"""Which code is the user's own, and when it counts as edited."""

import copy

import numpy as np
from sklearn.linear_model import Ridge

from sklperturb.baseline import NoChangeRegressor
from sklperturb.models import list_models, make_model
from sklperturb.utils._own_code import own_code

X, Y = np.zeros((6, 2)), np.arange(18.0).reshape(6, 3)


def test_a_class_that_was_typed_in_counts_by_itself():
    def typed(text):
        scope = {"__name__": "typed_in", "Ridge": Ridge}
        exec(text, scope)
        return own_code(scope["Own"]())

    text = "class Own(Ridge):\n    {0}\n    def predict(self, X): return {1}\n"
    code = typed(text.format("a = {1, 2}", "X in {3, 4}"))
    assert len(code) == 1
    assert typed("\n\n" + text.format("a = {1, 2}", "X in {3, 4}")) == code
    assert typed(text.format("a = {1, 3}", "X in {3, 4}")) != code
    assert typed(text.format("a = {1, 2}", "X in {3, 5}")) != code
    wrapped = "\n    @property\n    def b(self): return {0}\n"
    parts = [text.format("a = 1", "X") + wrapped.format(i) for i in range(2)]
    assert typed(parts[0]) != typed(parts[1])


class Itself(NoChangeRegressor):
    """Refers to itself, and to a class of a library."""

    library = Ridge

    class Inner:
        a = 1


Itself.Inner.outer = Itself.itself = Itself


def test_code_is_the_same_once_it_was_used():
    scope = {"__name__": "typed_in", "Ridge": Ridge, "Inner": Itself.Inner}
    exec("class Own(Ridge):\n    inner = Inner\n    class More: a = 1", scope)
    for model in (Itself(), scope["Own"]()):
        before = own_code(model)
        assert len(before) == 1
        copy.deepcopy(model).fit(X, Y).predict(X)
        assert own_code(model) == before


def test_all_registered_models_are_of_the_toolkit():
    for entry in list_models():
        if entry.available:
            assert own_code(make_model(entry.name)) == []
