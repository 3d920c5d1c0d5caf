"""The network and the settings of a checkpoint, and a small one in Arc's layouts."""

from dataclasses import asdict

import numpy as np
import torch
import yaml
from sklearn.utils import check_random_state

from sklperturb.files._writing import move_whole, unfinished_folder, written_whole
from sklperturb.modules import StateEmbedding

# Settings without which the model would compute something else than it learnt.
REQUIRED_FLAGS = ("counts", "rda", "dataset_correction")
# Where the sizes are in the settings.
SETTINGS = {
    "width": "model.emsize",
    "n_heads": "model.nhead",
    "hidden_dim": "model.d_hid",
    "n_layers": "model.nlayers",
    "output_dim": "model.output_dim",
    "token_dim": "tokenizer.token_dim",
    "length": "dataset.pad_length",
    "cls_gene": "dataset.cls_token_idx",
}


def build_net(config):
    """Return a `StateEmbedding` with the weights that torch draws."""
    sizes = asdict(config)
    del sizes["length"], sizes["cls_gene"]
    return StateEmbedding(**sizes)


def write_checkpoint(path, config, genes, random_state):
    """Write weights, settings and gene vectors; see `SECheckpoint.create`."""
    if path.exists():
        raise FileExistsError(f"{path} exists; remove it or choose another path.")
    names = [f"GENE{i + 1}" for i in range(genes)] if np.isscalar(genes) else genes
    names = [str(name) for name in names]
    if len(set(names)) < len(names) or not names or not all(map(str.strip, names)):
        raise ValueError("genes must be different names, at least one.")
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        weights = build_net(config).state_dict()
        vectors = torch.randn(len(names), config.token_dim)
    # Weights as torch draws them give cells that hardly differ.
    weights = {
        name: tensor * 3 if tensor.ndim == 2 else tensor
        for name, tensor in weights.items()
    }
    settings = {"model": dict.fromkeys(REQUIRED_FLAGS, True)}
    for size, setting in SETTINGS.items():
        section, key = setting.split(".")
        settings.setdefault(section, {})[key] = getattr(config, size)
    vectors = {name: row.clone() for name, row in zip(names, vectors, strict=True)}
    write = _write_file if path.suffix == ".ckpt" else _write_folder
    write(path, weights, settings, vectors)


def _write_file(path, weights, settings, vectors):
    content = {
        "state_dict": weights,
        "hyper_parameters": {},
        "cfg_yaml": yaml.safe_dump(settings),
        "protein_embeds_dict": vectors,
    }
    with written_whole(path) as unfinished:
        torch.save(content, unfinished)


def _write_folder(path, weights, settings, vectors):
    from safetensors.torch import save_file

    with unfinished_folder(path.parent, path) as folder:
        made = folder / path.name
        made.mkdir()
        save_file(weights, made / "model.safetensors")
        (made / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        torch.save(vectors, made / "protein_embeddings.pt")
        move_whole(made, path)
