"""Messages of the library in the words of the command line."""

import re

# Parameters of the library that have another name on the command line.
_RENAMED = {"n_jobs": "jobs", "random_state": "seed", "control_labels": "control"}
_SCHEMA = re.compile(r"schema=PerturbationSchema\((?:.*, )?(\w+)=\.\.\.\)")
# How scikit-learn speaks of a parameter.
_PARAMETER = re.compile(r"The '(\w+)' parameter of \w+ must")
# ``name=value`` or a name with an underscore; not within a quoted label or a path.
_NAMED = re.compile(r"(?<![\w'\"/.\-])(?:(\w+)=(True|False)?|(\w+_\w+)(?!\w))")


def in_options(message, parameters):
    """Return a message of the library with options in place of parameters.

    Parameters
    ----------
    message : str
    parameters : list of click.Parameter
        Those of the command that runs.

    Returns
    -------
    message : str
        Without the sentences that only a schema in Python could follow.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from sklperturb.cli._messages import in_options
    >>> option = SimpleNamespace(name="layer", opts=["--layer"], secondary_opts=[])
    >>> in_options("The cells have no X. Pass layer= to name what to read.", [option])
    'The cells have no X. Pass --layer to name what to read.'
    """
    options = {
        parameter.name: [*parameter.opts, *parameter.secondary_opts]
        for parameter in parameters
        if parameter.opts[0].startswith("--")
    }

    def of_schema(found):
        role = _RENAMED.get(found[1], found[1])
        return options[role][0] if role in options else found[0]

    def of_parameter(found):
        name = found[1] or found[3]
        spelled = options.get(_RENAMED.get(name, name))
        if spelled is None:
            return found[0]
        if found[3] or found[2]:
            return spelled[-1 if found[2] == "False" else 0]
        # "layer= to" has its blank, "layer='counts'" needs one.
        after = found.string[found.end() : found.end() + 1]
        return spelled[0] + ("" if after in " .,;" else " ")

    def of_constraint(found):
        name = _RENAMED.get(found[1], found[1])
        return f"{options[name][0]} must" if name in options else found[0]

    message = _PARAMETER.sub(of_constraint, _SCHEMA.sub(of_schema, message))
    message = _NAMED.sub(of_parameter, message)
    # Of "--layer or obsm= to", what this command does not have.
    message = re.sub(r"(--[\w-]+) or \w+= ", r"\1 ", message)
    sentences = re.split(r"(?<=\.) (?=[A-Z])", message)
    return " ".join(s for s in sentences if "schema=" not in s)
