"""Find the weights, the settings and the vocabulary among a checkpoint's files."""

import importlib.util
from pathlib import Path

import torch
import yaml

from sklperturb.embedding._archive import Inert, read_archive

_WEIGHT_SUFFIXES = (".ckpt", ".pt", ".pth", ".safetensors")
_EMBEDDINGS = "protein_embeddings*.pt"


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
    file : Path
        That of the weights.
    weights : dict of str to Tensor
    settings : list of (str, dict)
        Settings and where they come from, the first in force.
    vectors : dict of str to Tensor, or None
        Vector of each gene.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no checkpoint at {path}.")
    folder = path if path.is_dir() else path.parent
    file = _weights_in(path) if path.is_dir() else path
    weights, settings, vectors = _take_apart(file, _read_weights(file))
    beside = folder / "config.yaml"
    if config is not None:
        settings = [("the config given", _read_config(config))]
    elif beside.is_file() and (path.is_dir() or not settings):
        settings.append((str(beside), _read_config(beside)))
    found = []
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
        vectors = _check_vectors(read_archive(found[0]), found[0])
    return file, weights, settings, vectors


def _weights_in(folder):
    """Return the file of weights in a folder, safetensors first."""
    files = sorted(
        file
        for file in folder.iterdir()
        if file.suffix in _WEIGHT_SUFFIXES and not file.match(_EMBEDDINGS)
    )
    safe = [file for file in files if file.suffix == ".safetensors"]
    others = [file for file in files if file.suffix != ".safetensors"]
    takes_safe = importlib.util.find_spec("safetensors") or not others
    files = safe if safe and takes_safe else others
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


def _read_weights(file):
    if file.suffix != ".safetensors":
        return read_archive(file)
    safetensors = import_safetensors(file)
    try:
        return safetensors.torch.load_file(file)
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{file} cannot be read as safetensors: {error}. It may be damaged or "
            "incomplete; download or copy it again."
        ) from error


def import_safetensors(path):
    """Return the package, which only a checkpoint like `path` needs."""
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError(
            f"{path} needs safetensors; install it with: pip install "
            '"sklperturb[embed]". A checkpoint in a file that ends in .ckpt does not.'
        ) from error
    return safetensors


def _take_apart(file, content):
    """Return weights, settings and vectors of a file's content."""
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{file} holds no dictionary of weights.")
    names = [name for name in ("state_dict", "model") if name in content]
    if not names:
        if any(not isinstance(value, torch.Tensor) for value in content.values()):
            raise ValueError(
                f"{file} holds neither a state_dict nor a dictionary of tensors; it "
                f"has {list(content)[:5]}."
            )
        return content, [], None
    weights = _check(content[names[0]], names[0], file)
    hyper = content.get("hyper_parameters")
    hyper = hyper if isinstance(hyper, dict) else {}
    settings = []
    for origin, holder in (("", content), ("hyper_parameters.", hyper)):
        if isinstance(holder.get("cfg_yaml"), str):
            text = holder["cfg_yaml"]
            settings.append((f"{origin}cfg_yaml of {file}", _parse(text, file)))
    if (cfg := _plain(hyper.get("cfg"))) and isinstance(cfg, dict):
        settings.append((f"hyper_parameters.cfg of {file}", cfg))
    vectors = content.get("protein_embeds_dict")
    return weights, settings, None if vectors is None else _check_vectors(vectors, file)


def _plain(value):
    """Turn what omegaconf pickled into plain containers."""
    if isinstance(value, Inert) and isinstance(value.state, dict):
        if "_content" in value.state:
            return _plain(value.state["_content"])
        return value.state.get("_val")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _read_config(config):
    if isinstance(config, dict):
        return config
    return _parse(Path(config).read_bytes(), config)


def _parse(text, origin):
    try:
        parsed = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"The settings of {origin} are no YAML: {error}") from error
    if not isinstance(parsed, dict):
        raise ValueError(f"The settings of {origin} are no mapping of names to values.")
    return parsed


def _check_vectors(vectors, file):
    """Return vectors of genes; raise an error if they are not of one length."""
    _check(vectors, "The gene vectors", file)
    shapes = sorted({tuple(vector.shape) for vector in vectors.values()})
    floats = all(vector.is_floating_point() for vector in vectors.values())
    if len(shapes) > 1 or len(shapes[0]) != 1 or not floats:
        raise ValueError(
            f"The gene vectors of {file} must be of floats and of one length; they "
            f"have shapes {shapes[:3]}."
        )
    return vectors


def _check(tensors, what, file):
    """Return `tensors`; raise an error if they are not a dictionary by names."""
    if not isinstance(tensors, dict) or not tensors:
        raise ValueError(f"{what} of {file} must be a dictionary of names.")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ValueError(
                f"{what} of {file} must be names with tensors; {name!r} has "
                f"{type(tensor).__name__}."
            )
    return tensors
