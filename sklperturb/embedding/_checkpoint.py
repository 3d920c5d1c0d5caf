"""A checkpoint of Arc's State Embedding model: settings, vocabulary, weights."""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from sklperturb.embedding._create import (
    REQUIRED_FLAGS,
    SETTINGS,
    build_net,
    write_checkpoint,
)
from sklperturb.embedding._layout import FLOATS, find_contents
from sklperturb.files._reading import FileError, short

_LAYER = re.compile(r"transformer_encoder\.layers\.(\d+)\.")
# Other names of the same weights: of compiled models and of torch's encoder layers.
_OTHER_NAMES = {
    "_orig_mod.": "",
    "gene_embedding_layer.": "encoder.",
    "self_attn.in_proj_": "qkv_proj.",
    "self_attn.out_proj.": "out_proj.",
}
# Read by the training program only.
_TRAINING_ONLY = ("dataset_encoder.", "pe_embedding.")
# Sizes that no weight tells have limits; the others are a side of weights.
_LIMITS = {"n_heads": (1, 10_000), "length": (2, 100_000), "cls_gene": (0, 1_000_000)}
_MOST_LAYERS = 200
_SIDES = {
    "width": ("encoder.0.weight", 0),
    "token_dim": ("encoder.0.weight", 1),
    "hidden_dim": ("transformer_encoder.layers.0.linear1.weight", 0),
    "output_dim": ("dataset_embedder.weight", 1),
    "dataset_dim": ("dataset_embedder.weight", 0),
}


@dataclass(frozen=True)
class SEConfig:
    """Sizes of a State Embedding model.

    Attributes
    ----------
    token_dim : int
        Length of a gene's vector.
    width, n_heads, hidden_dim, n_layers : int
        Width, attention heads, feed-forward width and depth of the transformer.
    output_dim, dataset_dim : int
        Length of the embedding of a cell, and of its data set.
    length : int
        Positions of a sentence, the first of which stands for the cell.
    cls_gene : int
        The mapped gene, from 0, whose count the first position carries.

    Examples
    --------
    >>> from sklperturb.embedding import SEConfig
    >>> SEConfig(n_layers=1).n_layers
    1
    """

    token_dim: int = 40
    width: int = 32
    n_heads: int = 4
    hidden_dim: int = 64
    n_layers: int = 2
    output_dim: int = 24
    dataset_dim: int = 10
    length: int = 32
    cls_gene: int = 3


class SECheckpoint:
    """A checkpoint of Arc's State Embedding model on disk.

    Opening one reads its settings and the names of its genes and checks every weight's
    name and shape. The weights stay on disk, mapped into memory, until they are asked
    for, whatever else the file holds.

    Parameters
    ----------
    path : str or Path
        A file of weights (.ckpt, .pt or .safetensors), or a folder with one. Layouts:

        - a Lightning checkpoint with its settings and gene vectors inside;
        - an older one with a pickled configuration, gene vectors beside it;
        - a folder with ``model.safetensors`` or a checkpoint, ``config.yaml`` and
          ``protein_embeddings.pt``;
        - a bare dictionary of weights, the other two files beside it.
    config : str, Path or dict, default=None
        Settings in place of those in or beside the weights.
    protein_embeddings : str or Path, default=None
        Gene vectors in place of those in or beside the weights.

    Attributes
    ----------
    path : Path
    config : SEConfig
    genes : ndarray of str of shape (n_genes,)
        The vocabulary, in the order of the tokens.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a file is damaged, asks for code to be run, or lacks what the model needs.

    See Also
    --------
    SEEmbedding : The transformer that uses it.

    Notes
    -----
    Of the pickled part of a file only tensors, plain containers and values are made.
    What else a training program leaves there becomes an inert object, and what no
    training program leaves there is an error. Nothing is imported or called.

    Values are compared with the checksums of the file, and must be finite, when
    `make_net` and `vectors` read them. A file of safetensors has no checksums.

    The number of attention heads is in the settings alone; everything else there is
    compared with the shapes of the weights. A missing weight is an error, and so is one
    that the model does not know.

    Examples
    --------
    >>> import tempfile
    >>> from sklperturb.embedding import SECheckpoint
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoint = SECheckpoint.create(f"{folder}/small.ckpt", random_state=0)
    ...     checkpoint.config.output_dim, list(checkpoint.genes[:2])
    (24, ['GENE1', 'GENE2'])
    """

    def __init__(self, path, *, config=None, protein_embeddings=None):
        self.path = Path(path)
        self._arguments = {"config": config, "protein_embeddings": protein_embeddings}
        self._contents = find_contents(self.path, config, protein_embeddings)
        self._file, self._vectors = self._contents.file, self._contents.vectors
        self._weights = _known_names(self._contents.weights, self._file)
        if self._vectors is None:
            raise ValueError(
                f"{self.path} has no gene vectors, and there is no "
                f"protein_embeddings.pt in {self._file.parent}. Pass the path of one "
                "as protein_embeddings."
            )
        self.config = _sizes(self._weights, self._contents.settings, self._file)
        self._net_of(self._weights)
        self.genes = np.array(list(self._vectors), dtype=object)
        length = len(next(iter(self._vectors.values())))
        if length != self.config.token_dim:
            raise FileError(
                f"The gene vectors of {self._contents.vectors_file} have {length} "
                f"values, and the weights of {self._file} take "
                f"{self.config.token_dim}."
            )

    @classmethod
    def create(cls, path, *, config=None, genes=50, random_state=None):
        """Write a small checkpoint with random weights, for tests and demonstrations.

        Parameters
        ----------
        path : str or Path
            A file that ends in .ckpt, or a folder to make, in the layout with
            safetensors.
        config : SEConfig, default=None
            Sizes; None is ``SEConfig()``.
        genes : int or list of str, default=50
            The vocabulary, or how many genes, named GENE1, GENE2 and so on.
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        checkpoint : SECheckpoint

        Raises
        ------
        FileExistsError
            If there is something at `path`.

        Examples
        --------
        >>> import tempfile
        >>> from sklperturb.embedding import SECheckpoint
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     SECheckpoint.create(f"{folder}/small.ckpt", genes=["TP53", "MYC"]).genes
        array(['TP53', 'MYC'], dtype=object)
        """
        write_checkpoint(Path(path), config or SEConfig(), genes, random_state)
        return cls(path)

    @property
    def identity(self):
        """Path, size and time of the weights, and what else was given."""
        about = self._file.stat()
        arguments = repr(self._arguments)
        return (str(self._file.resolve()), about.st_size, about.st_mtime_ns, arguments)

    def state_dict(self):
        """Return the weights by the names of `modules.StateEmbedding`.

        Returns
        -------
        weights : dict of str to Tensor
            Mapped from the disk where the file allows it.
        """
        return dict(self._weights)

    def vectors(self, genes=None):
        """Return the vectors of genes.

        Parameters
        ----------
        genes : sequence of str or None, default=None
            None is the whole vocabulary. In the sequence, names that are not in it
            have a vector of zeros.

        Returns
        -------
        vectors : Tensor of shape (n_genes, token_dim), float32

        Raises
        ------
        FileError
            If values differ from their checksum, or are not finite.
        """
        missing = torch.zeros(self.config.token_dim)
        names = self.genes if genes is None else genes
        found = [self._vectors.get(name, missing) for name in names]
        self._contents.check(found)
        vectors = torch.stack([vector.float() for vector in found])
        finite = vectors.isfinite().all(dim=1).tolist()
        if bad := [name for name, good in zip(names, finite, strict=True) if not good]:
            raise FileError(
                f"{self._contents.vectors_file} has NaN or infinite values in the "
                f"vectors of {len(bad)} genes, {short(bad)}; correct or remove them."
            )
        return vectors

    def make_net(self):
        """Build the model with these weights.

        Returns
        -------
        net : StateEmbedding
            On the CPU, in float32, in evaluation mode.

        Raises
        ------
        FileError
            If values differ from their checksum, or a weight is not finite.
        """
        self._contents.check(self._weights.values())
        weights = {name: tensor.float() for name, tensor in self._weights.items()}
        bad = [name for name, tensor in weights.items() if not tensor.isfinite().all()]
        if bad:
            raise FileError(f"{self._file} has NaN or infinite values in {short(bad)}.")
        return self._net_of(weights).eval().requires_grad_(False)

    def _net_of(self, weights):
        """Return the model, if these are its weights."""
        with torch.device("meta"):
            net = build_net(self.config)
        _check_fit(weights, net.state_dict(), self._file)
        net.load_state_dict(weights, assign=True)
        return net

    def __repr__(self):
        return f"SECheckpoint({str(self.path)!r})"

    def __sklearn_clone__(self):
        return self  # never changes

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        return partial(SECheckpoint, **self._arguments), (self.path.resolve(),)


def _known_names(weights, file):
    """Return the weights by the names that the model has for them."""
    known = {}
    for name, tensor in weights.items():
        for theirs, ours in _OTHER_NAMES.items():
            name = name.replace(theirs, ours)
        if name.startswith(_TRAINING_ONLY):
            continue
        if name in known and not torch.equal(known[name], tensor):
            raise ValueError(f"{file} has two different weights for {name}.")
        known[name] = tensor.detach()
    return known


def _check_fit(weights, expected, file):
    """Raise an error unless the weights are those that a model has."""
    problems = []
    if missing := [name for name in expected if name not in weights]:
        problems.append(f"Missing keys are {short(missing)}.")
    if foreign := [name for name in weights if name not in expected]:
        problems.append(f"Unexpected keys are {short(foreign)}.")
    shapes = {
        name: (list(weights[name].shape), list(tensor.shape))
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    }
    if shapes:
        problems.append(f"Shapes that are there and that are needed: {short(shapes)}.")
    whole = [n for n, w in weights.items() if n in expected and w.dtype not in FLOATS]
    if whole:
        problems.append(f"{short(whole)} are not of floating point.")
    if problems:
        raise FileError(f"{file} does not fit. {' '.join(problems)}")


def _sizes(weights, settings, file):
    """Return the sizes, from the shapes of weights and from the settings."""
    if not settings:
        raise ValueError(
            f"{file} has no settings, and there is no config.yaml beside it; the "
            "number of attention heads cannot be told from the weights. Pass config."
        )
    origin, config = settings[0]
    for flag in REQUIRED_FLAGS:
        if _look_up(config, f"model.{flag}") not in (None, True):
            raise FileError(
                f"model.{flag} is not true in {origin}; only models with it are known."
            )
    sizes = {}
    for size, (name, side) in _SIDES.items():
        if name not in weights or weights[name].ndim != 2 or not weights[name].numel():
            raise FileError(
                f"{file} has no matrix {name}, which every State Embedding model has; "
                f"it begins with {short(list(weights))}. It may be of another model."
            )
        sizes[size] = weights[name].shape[side]
    layers = {found[1] for name in weights if (found := _LAYER.match(name))}
    sizes["n_layers"] = len(layers)
    if len(layers) > _MOST_LAYERS:
        raise FileError(f"{file} has weights of {len(layers)} layers; is it damaged?")
    for size, name in SETTINGS.items():
        said = _look_up(config, name)
        if size in _LIMITS:
            least, most = _LIMITS[size]
            if type(said) is not int or not least <= said <= most:
                raise FileError(
                    f"{name} must be an int from {least} to {most}; in {origin} it is "
                    f"{short(said)}."
                )
            sizes[size] = said
        elif said is not None and (type(said) is not int or said != sizes[size]):
            raise FileError(
                f"{name} is {short(said)} in {origin}, and the weights of {file} have "
                f"{sizes[size]}. Pass the config that belongs to them."
            )
    if sizes["width"] % sizes["n_heads"]:
        raise FileError(
            f"model.nhead is {sizes['n_heads']} in {origin}, which does not divide the "
            f"width {sizes['width']} of the weights of {file}."
        )
    return SEConfig(**sizes)


def _look_up(config, name):
    for key in name.split("."):
        config = config.get(key) if isinstance(config, dict) else None
    return config
