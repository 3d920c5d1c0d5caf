"""Find the weights, the settings and the vocabulary among a checkpoint's files."""

from dataclasses import dataclass
from pathlib import Path

import torch

from sklperturb.embedding._archive import Archive
from sklperturb.embedding._program import Inert
from sklperturb.files._arrays import read_safetensors
from sklperturb.files._documents import parse_yaml, read_yaml
from sklperturb.files._reading import FileError, check_file, short

_WEIGHT_SUFFIXES = (".ckpt", ".pt", ".pth", ".safetensors")
_EMBEDDINGS = "protein_embeddings*.pt"
FLOATS = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
_MOST_SETTINGS, _DEEPEST_SETTINGS = 100_000, 50  # containers and values


@dataclass
class Contents:
    """What a checkpoint's files hold.

    Attributes
    ----------
    file : Path
        That of the weights.
    weights : dict of str to Tensor
    settings : list of (str, dict)
        Settings and where they come from, the first in force.
    vectors : dict of str to Tensor, or None
        Vector of each gene.
    vectors_file : Path
    archives : list of Archive
        Those that have checksums of their values.
    """

    file: Path
    weights: dict
    settings: list
    vectors: dict | None
    vectors_file: Path
    archives: list

    def check(self, tensors):
        """Compare the values of tensors with the checksums that there are."""
        for archive in self.archives:
            archive.check(tensors)


def find_contents(path, config=None, protein_embeddings=None):
    """Read a checkpoint of any layout.

    Parameters
    ----------
    path : Path
        A file of weights, or a folder with one.
    config : Path or dict, default=None
        Settings, if not those beside or in the weights.
    protein_embeddings : Path, default=None
        Vectors of genes, if not those beside or in the weights.

    Returns
    -------
    contents : Contents
    """
    path = check_file(path, "checkpoint", folder=True)
    folder = path if path.is_dir() else path.parent
    file = _weights_in(path) if path.is_dir() else path
    archives = []

    def read(file):
        if file.suffix == ".safetensors":
            return read_safetensors(file)[0]
        archives.append(Archive(file))
        return archives[-1].content

    weights, settings, vectors = _take_apart(file, read(file))
    beside = folder / "config.yaml"
    if config is not None:
        settings = [("the config given", _read_config(config))]
    elif beside.exists() and (path.is_dir() or not settings):
        settings.append((str(beside), _read_config(beside)))
    vectors_file, found = file, []
    if protein_embeddings is not None:
        found = [Path(protein_embeddings)]
    elif path.is_dir() or vectors is None:
        found = sorted(folder.glob(_EMBEDDINGS))
    if len(found) > 1 and vectors is None:
        raise ValueError(
            f"{folder} has several files of gene vectors, "
            f"{[f.name for f in found]}; pass one as protein_embeddings."
        )
    if len(found) == 1:
        vectors_file = found[0]
        vectors = _check_vectors(read(vectors_file), vectors_file)
    return Contents(file, weights, settings, vectors, vectors_file, archives)


def _weights_in(folder):
    """Return the file of weights in a folder, safetensors first."""
    files = sorted(
        file
        for file in folder.iterdir()
        if file.suffix in _WEIGHT_SUFFIXES and not file.match(_EMBEDDINGS)
    )
    safe = [file for file in files if file.suffix == ".safetensors"]
    files = safe or files
    if not files:
        raise ValueError(
            f"{folder} has no checkpoint: no file that ends in one of "
            f"{', '.join(_WEIGHT_SUFFIXES)}."
        )
    if len(files) > 1:
        raise ValueError(
            f"{folder} has several checkpoints, {[file.name for file in files]}; pass "
            "the path of one."
        )
    return files[0]


def _take_apart(file, content):
    """Return weights, settings and vectors of a file's content."""
    if not isinstance(content, dict) or not content:
        raise FileError(f"{file} holds no dictionary of weights.")
    names = [name for name in ("state_dict", "model") if name in content]
    if not names:
        if any(not isinstance(value, torch.Tensor) for value in content.values()):
            raise FileError(
                f"{file} holds neither a state_dict nor a dictionary of tensors; it "
                f"has {short(list(content))}."
            )
        return _check(content, "The weights", file), [], None
    weights = _check(content[names[0]], names[0], file)
    hyper = content.get("hyper_parameters")
    hyper = hyper if isinstance(hyper, dict) else {}
    settings = []
    for origin, holder in (("", content), ("hyper_parameters.", hyper)):
        if isinstance(holder.get("cfg_yaml"), str):
            origin = f"{origin}cfg_yaml of {file}"
            settings.append(
                (origin, _mapping(parse_yaml(holder["cfg_yaml"], origin), origin))
            )
    if (cfg := _plain(hyper.get("cfg"), file)) and isinstance(cfg, dict):
        settings.append((f"hyper_parameters.cfg of {file}", cfg))
    vectors = content.get("protein_embeds_dict")
    return weights, settings, None if vectors is None else _check_vectors(vectors, file)


def _plain(value, file):
    """Turn what omegaconf pickled into plain containers."""
    seen = 0

    def plain(value, depth):
        nonlocal seen
        seen += 1
        if seen > _MOST_SETTINGS or depth > _DEEPEST_SETTINGS:
            raise FileError(f"The settings of {file} are too many; is it damaged?")
        if isinstance(value, Inert) and isinstance(value.state, dict):
            if "_content" in value.state:
                return plain(value.state["_content"], depth + 1)
            return value.state.get("_val")
        if isinstance(value, dict):
            return {key: plain(item, depth + 1) for key, item in value.items()}
        return value

    return plain(value, 0)


def _read_config(config):
    return config if isinstance(config, dict) else _mapping(read_yaml(config), config)


def _mapping(parsed, origin):
    if not isinstance(parsed, dict):
        raise FileError(f"The settings of {origin} are no mapping of names to values.")
    return parsed


def _check_vectors(vectors, file):
    """Return vectors of genes; raise an error if they are not of one length."""
    _check(vectors, "The gene vectors", file)
    shapes = sorted({tuple(vector.shape) for vector in vectors.values()})
    floats = all(vector.dtype in FLOATS for vector in vectors.values())
    if len(shapes) > 1 or len(shapes[0]) != 1 or shapes[0] == (0,) or not floats:
        raise FileError(
            f"The gene vectors of {file} must be of floats and of one length; they "
            f"have shapes {shapes[:3]}."
        )
    if blank := [name for name in vectors if not name.strip()]:
        raise FileError(f"{file} has a gene called {blank[0]!r}; name or remove it.")
    return vectors


def _check(tensors, what, file):
    """Return `tensors`; raise an error if they are not a dictionary by names."""
    if not isinstance(tensors, dict) or not tensors:
        raise FileError(f"{what} of {file} must be a dictionary of names.")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise FileError(
                f"{what} of {file} must be names with tensors; {short(name)} has "
                f"{type(tensor).__name__}."
            )
    storages = [tensor.untyped_storage() for tensor in tensors.values()]
    held = sum({s.data_ptr(): s.nbytes() for s in storages}.values())
    # Tied weights are there twice; more would be a small file that fills the memory.
    if sum(tensor.nbytes for tensor in tensors.values()) > 2 * held:
        raise FileError(
            f"{what} of {file} share their values so often that they would take more "
            "than twice the memory of what is stored; get the file again."
        )
    return tensors
