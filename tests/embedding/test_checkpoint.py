import collections
import copy
import datetime
import os
import pickle
import shutil
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from sklearn.base import clone

from sklperturb.embedding import SECheckpoint, SEConfig, SEEmbedding


@pytest.fixture(scope="module")
def content(checkpoint):
    """What is in a checkpoint file; copy before changing it."""
    return torch.load(checkpoint.path, weights_only=True)


def changed(content, **changes):
    content = copy.copy(content)
    content["state_dict"] = dict(content["state_dict"])
    for name, value in changes.items():
        content[name] = value
    return content


def save(tmp_path, content, name="a.ckpt"):
    torch.save(content, tmp_path / name)
    return tmp_path / name


def same(a, b):
    assert a.config == b.config
    assert list(a.genes) == list(b.genes)
    weights, expected = a.state_dict(), b.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[k].float(), expected[k]) for k in weights)
    assert torch.equal(a.vectors(), b.vectors())


def test_create(tmp_path):
    config = SEConfig(width=16, n_layers=3, length=20, cls_gene=0)
    state = torch.get_rng_state()
    first = SECheckpoint.create(
        tmp_path / "a.ckpt", config=config, genes=["A", "B"], random_state=1
    )
    assert torch.equal(state, torch.get_rng_state())
    assert first.config == config
    assert list(first.genes) == ["A", "B"]
    again = SECheckpoint.create(
        tmp_path / "b.ckpt", config=config, genes=["A", "B"], random_state=1
    )
    same(first, again)
    with pytest.raises(FileExistsError):
        SECheckpoint.create(tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="different names"):
        SECheckpoint.create(tmp_path / "c.ckpt", genes=["A", "A"])


def test_folder_layout(tmp_path, checkpoint):
    kwargs = {"config": checkpoint.config, "genes": 120, "random_state": 0}
    folder = SECheckpoint.create(tmp_path / "model", **kwargs)
    assert sorted(os.listdir(tmp_path / "model")) == [
        "config.yaml",
        "model.safetensors",
        "protein_embeddings.pt",
    ]
    same(folder, checkpoint)
    same(SECheckpoint(tmp_path / "model" / "model.safetensors"), checkpoint)
    moved = tmp_path / "elsewhere.safetensors"
    shutil.copy(tmp_path / "model" / "model.safetensors", moved)
    with pytest.raises(ValueError, match=r"no gene vectors.*protein_embeddings"):
        SECheckpoint(moved)
    vectors = tmp_path / "model" / "protein_embeddings.pt"
    with pytest.raises(ValueError, match="no settings"):
        SECheckpoint(moved, protein_embeddings=vectors)
    config = tmp_path / "model" / "config.yaml"
    same(SECheckpoint(moved, protein_embeddings=vectors, config=config), checkpoint)


def bare(content, tmp_path, weights=None):
    """Write the layout of weights alone, with the other files beside."""
    save(tmp_path, weights or content["state_dict"], "weights.pt")
    save(tmp_path, content["protein_embeds_dict"], "protein_embeddings_v1.pt")
    (tmp_path / "config.yaml").write_text(content["cfg_yaml"])


def test_bare_weights(tmp_path, content, checkpoint):
    bare(content, tmp_path)
    same(SECheckpoint(tmp_path), checkpoint)
    same(SECheckpoint(tmp_path / "weights.pt"), checkpoint)


def test_other_names_of_the_same_weights(tmp_path, content, checkpoint):
    names = {
        "qkv_proj.weight": "self_attn.in_proj_weight",
        "qkv_proj.bias": "self_attn.in_proj_bias",
        "out_proj": "self_attn.out_proj",
    }
    weights = {}
    for name, tensor in content["state_dict"].items():
        for ours, theirs in names.items():
            if "layers." in name:
                name = name.replace(ours, theirs)
        weights["_orig_mod." + name] = tensor
        if name.startswith("encoder."):
            weights["_orig_mod.gene_embedding_" + name.replace("encoder", "layer")] = (
                tensor.clone()
            )
    weights["_orig_mod.pe_embedding.weight"] = torch.zeros(3, 3)
    weights["_orig_mod.dataset_encoder.0.weight"] = torch.zeros(3, 3)
    (tmp_path / "model").mkdir()
    bare(content, tmp_path / "model", weights)
    same(SECheckpoint(tmp_path / "model"), checkpoint)
    weights["_orig_mod.gene_embedding_layer.0.weight"] += 1
    bare(content, tmp_path / "model", weights)
    with pytest.raises(ValueError, match=r"two different weights for encoder.0.weight"):
        SECheckpoint(tmp_path / "model")
    planned = {"model": content["state_dict"], "cfg_yaml": content["cfg_yaml"]}
    planned["protein_embeds_dict"] = content["protein_embeds_dict"]
    same(SECheckpoint(save(tmp_path, planned)), checkpoint)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(tmp_path, content, dtype):
    weights = {k: v.to(dtype) for k, v in content["state_dict"].items()}
    opened = SECheckpoint(save(tmp_path, changed(content, state_dict=weights)))
    net = opened.make_net()
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def pickled_with_their_classes(content, path):
    """Write what an old training program did: configuration and collater as objects."""
    made = []

    def module(name):
        for i in range(name.count(".") + 1):
            part = ".".join(name.split(".")[: i + 1])
            if part not in sys.modules:
                sys.modules[part] = types.ModuleType(part)
                made.append(part)
        return sys.modules[name]

    def kind(module_name, name):
        new = type(name, (), {"__module__": module_name})
        setattr(module(module_name), name, new)
        return new

    def container(value):
        if isinstance(value, dict):
            node = dict_config()
            node._content = {k: container(v) for k, v in value.items()}
        else:
            node = any_node()
            node._val = value
        return node

    dict_config = kind("omegaconf.dictconfig", "DictConfig")
    any_node = kind("omegaconf.nodes", "AnyNode")
    collater = kind("vci.data.loader", "VCIDatasetSentenceCollator")()
    collater.table = np.arange(5)
    collater.sets = {"a", "b"}
    collater.counter = collections.Counter("aab")
    old = {
        "state_dict": content["state_dict"],
        "hyper_parameters": {
            "cfg": container(yaml.safe_load(content["cfg_yaml"])),
            "collater": collater,
        },
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}}],
        "callbacks": {"ModelCheckpoint": {"dirpath": "/x"}},
    }
    try:
        torch.save(old, path)
    finally:
        for name in made:
            del sys.modules[name]


def test_old_lightning_layout(tmp_path, content, checkpoint):
    pickled_with_their_classes(content, tmp_path / "old.ckpt")
    save(tmp_path, content["protein_embeds_dict"], "protein_embeddings.pt")
    same(SECheckpoint(tmp_path), checkpoint)
    same(SECheckpoint(tmp_path / "old.ckpt"), checkpoint)
    assert "vci" not in sys.modules and "omegaconf" not in sys.modules


def test_other_containers(tmp_path, content, checkpoint, monkeypatch):
    """Those of Lightning and of the standard library, and weights with gradients."""
    utilities = types.ModuleType("lightning.utilities")
    utilities.AttributeDict = type("AttributeDict", (dict,), {})
    utilities.AttributeDict.__module__ = utilities.__name__
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "lightning", types.ModuleType("lightning"))
        patch.setitem(sys.modules, utilities.__name__, utilities)
        hyper = utilities.AttributeDict(cfg_yaml=content["cfg_yaml"])
        hyper["dates"] = collections.defaultdict(list, {1: [datetime.timedelta(1)]})
        hyper["last"] = collections.deque([1, Path("a")], maxlen=3)
        weights = map(torch.nn.Parameter, content["state_dict"].values())
        weights = dict(zip(content["state_dict"], weights, strict=True))
        path = save(
            tmp_path,
            changed(content, state_dict=weights, cfg_yaml=None, hyper_parameters=hyper),
        )
    allowed = torch.serialization.get_safe_globals()
    opened = SECheckpoint(path)
    same(opened, checkpoint)
    assert not any(weight.requires_grad for weight in opened.state_dict().values())
    assert set(torch.serialization.get_safe_globals()) == set(allowed)


def test_settings_in_force(tmp_path, content, checkpoint):
    """Those given, then those of the file, then those beside it."""

    def heads(n):
        return setting("model.nhead", n)(content)["cfg_yaml"]

    hyper = {"cfg": yaml.safe_load(heads(1)), "cfg_yaml": heads(2)}
    everything = changed(content, cfg_yaml=heads(8), hyper_parameters=hyper)
    path = save(tmp_path, everything)
    (tmp_path / "config.yaml").write_text(heads(16))
    assert SECheckpoint(path).config.n_heads == 8
    assert SECheckpoint(tmp_path).config.n_heads == 8
    given = yaml.safe_load(heads(32))
    assert SECheckpoint(path, config=given).config.n_heads == 32
    del everything["cfg_yaml"]
    assert SECheckpoint(save(tmp_path, everything)).config.n_heads == 2
    del hyper["cfg_yaml"]
    assert SECheckpoint(save(tmp_path, everything)).config.n_heads == 1
    del hyper["cfg"]
    assert SECheckpoint(save(tmp_path, everything)).config.n_heads == 16
    # Vectors: those given, those in a folder, those of the file.
    assert len(SECheckpoint(path).genes) == 120
    fewer = dict(list(content["protein_embeds_dict"].items())[:70])
    save(tmp_path, fewer, "protein_embeddings.pt")
    assert len(SECheckpoint(path).genes) == 120
    assert len(SECheckpoint(tmp_path).genes) == 70
    fewest = save(tmp_path, dict(list(fewer.items())[:60]), "other.pth")
    assert len(SECheckpoint(path, protein_embeddings=fewest).genes) == 60


def test_only_weights_are_read_of_a_large_file(tmp_path, content, checkpoint):
    """The rest, such as an optimiser's state, stays on the disk."""
    large = {"state": torch.zeros(100_000_000, dtype=torch.uint8)}
    path = save(tmp_path, changed(content, optimizer_states=[large]))
    code = (
        "import sys, psutil, torch\n"
        "from sklperturb.embedding import SECheckpoint\n"
        f"SECheckpoint({str(checkpoint.path)!r}).make_net()\n"
        "before = psutil.Process().memory_info().rss\n"
        f"SECheckpoint({str(path)!r}).make_net()\n"
        "print(psutil.Process().memory_info().rss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert int(done.stdout) < 3e7, done.stderr


def without(name):
    def change(content):
        content = changed(content)
        del content["state_dict"][name]
        return content

    return change


def setting(name, value):
    def change(content):
        settings = yaml.safe_load(content["cfg_yaml"])
        section, key = name.split(".")
        settings[section][key] = value
        return changed(content, cfg_yaml=yaml.safe_dump(settings))

    return change


def weight(name, value):
    def change(content):
        content = changed(content)
        content["state_dict"][name] = value
        return content

    return change


WRONG = {
    "missing": (without("bin_encoder.weight"), r"Missing key.*bin_encoder.weight"),
    "missing layer": (
        without("transformer_encoder.layers.1.norm1.bias"),
        r"Missing key.*layers.1.norm1.bias",
    ),
    "foreign": (
        weight("latent.weight", torch.ones(2)),
        r"Unexpected key.*latent.weight",
    ),
    "far layer": (
        weight("transformer_encoder.layers.9999999.norm1.bias", torch.ones(32)),
        r"nlayers is 2 .* have 3",
    ),
    "shape": (
        weight("decoder.1.weight", torch.ones(3, 4)),
        r"decoder.1.weight.*\[3, 4\]",
    ),
    "integers": (
        weight("decoder.1.bias", torch.ones(24).long()),
        r"decoder.1.bias.*floating point",
    ),
    "other model": (
        lambda content: changed(content, state_dict={"tok.weight": torch.ones(2, 2)}),
        "no matrix encoder.0.weight.*tok.weight",
    ),
    "no tensor": (weight("cls_token", [1.0]), "with tensors; .cls_token. has list"),
    "heads": (setting("model.nhead", 5), "does not divide"),
    "no heads": (setting("model.nhead", None), "model.nhead must be an int"),
    "sizes": (setting("model.emsize", 64), "model.emsize is 64 .* have 32"),
    "flag": (setting("model.rda", False), "model.rda is not true"),
    "length": (setting("dataset.pad_length", "x"), "dataset.pad_length must be"),
    "yaml": (lambda c: changed(c, cfg_yaml="a: [1"), "as YAML"),
    "python yaml": (
        lambda c: changed(c, cfg_yaml="!!python/object/apply:os.getcwd []"),
        "as YAML",
    ),
    "no settings": (lambda c: changed(c, cfg_yaml=None), "no settings"),
    "vectors": (
        lambda c: changed(c, protein_embeds_dict={"A": torch.ones(3)}),
        "3 values.*take 40",
    ),
    "ragged": (
        lambda c: changed(
            c, protein_embeds_dict={"A": torch.ones(40), "B": torch.ones(3)}
        ),
        "of one length",
    ),
    "vectors of a kind": (
        lambda c: changed(c, protein_embeds_dict={"A": "x"}),
        "must be names with tensors",
    ),
    "list": (lambda c: [1, 2], "no dictionary"),
    "words": (lambda c: {"a": "b"}, "neither a state_dict nor"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_named(tmp_path, content, name):
    change, message = WRONG[name]
    path = save(tmp_path, change(content))
    with pytest.raises(ValueError, match=message) as caught:
        SECheckpoint(path)
    assert str(path) in str(caught.value)


def test_values_that_are_not_finite(tmp_path, content):
    path = save(tmp_path, weight("decoder.1.bias", torch.full((24,), np.nan))(content))
    with pytest.raises(ValueError, match=r"NaN.*decoder.1.bias"):
        SECheckpoint(path).make_net()


class Payload:
    """Does harm when it is unpickled."""

    def __init__(self, function, *arguments):
        self._reduced = (function, arguments)

    def __reduce__(self):
        return self._reduced


def payloads(folder):
    mark = folder / "harm"
    yield Payload(os.system, f"touch {mark}")
    yield Payload(eval, f"open({str(mark)!r}, 'w')")
    yield Payload(exec, f"open({str(mark)!r}, 'w')")
    yield Payload(subprocess.check_call, ["touch", str(mark)])
    yield Payload(open, str(mark), "w")
    yield Payload(getattr, "x", "upper")
    yield Payload(torch.load, str(mark))
    yield Payload(torch.hub.load, "x/y", "z")
    yield Payload(np.load, str(mark))
    yield Payload(np.save, str(mark), 1)
    yield Payload(__import__, "antigravity")
    yield Payload(pickle.loads, b"")
    yield Payload(os.makedirs, str(mark))


PLACES = [
    lambda c, p: changed(c, epoch=p),
    lambda c, p: changed(c, hyper_parameters={"cfg": p}),
    lambda c, p: changed(c, hyper_parameters={"collater": [{"x": p}]}),
    lambda c, p: changed(c, cfg_yaml=p),
    lambda c, p: changed(c, optimizer_states=[{"state": {0: p}}]),
    lambda c, p: changed(c, callbacks={"x": p}),
    lambda c, p: changed(c, protein_embeds_dict=p),
    lambda c, p: weight("cls_token", p)(c),
    lambda c, p: changed(c, state_dict=p),
    lambda c, p: p,
]


@pytest.mark.parametrize("place", range(len(PLACES)))
def test_no_payload_runs(tmp_path, content, place):
    for number, payload in enumerate(payloads(tmp_path)):
        path = save(tmp_path, PLACES[place](content, payload), f"{number}.ckpt")
        with pytest.raises(ValueError, match="which no checkpoint needs"):
            SECheckpoint(path)
    assert not (tmp_path / "harm").exists()


def test_payload_in_the_files_beside(tmp_path, content):
    bare(content, tmp_path)
    bad = Payload(os.system, f"touch {tmp_path / 'harm'}")
    save(tmp_path, {"A": bad}, "protein_embeddings_v1.pt")
    with pytest.raises(ValueError, match="asks for"):
        SECheckpoint(tmp_path)
    (tmp_path / "config.yaml").write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(ValueError, match="as YAML"):
        SECheckpoint(tmp_path)
    assert not (tmp_path / "harm").exists()


def test_files_that_are_no_checkpoints(tmp_path, checkpoint):
    good = checkpoint.path.read_bytes()
    text = tmp_path / "text.ckpt"
    text.write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "empty.ckpt").write_bytes(b"")
    (tmp_path / "cut.ckpt").write_bytes(good[: len(good) // 2])
    (tmp_path / "pickle.ckpt").write_bytes(pickle.dumps({"state_dict": {}}))
    with zipfile.ZipFile(tmp_path / "zip.ckpt", "w") as archive:
        archive.writestr("a/b.txt", "x")
    with zipfile.ZipFile(tmp_path / "script.ckpt", "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}))
        archive.writestr("a/constants.pkl", pickle.dumps({}))
    for name in ("text", "empty", "cut", "pickle", "zip", "script"):
        path = tmp_path / f"{name}.ckpt"
        with pytest.raises(ValueError, match=name):
            SECheckpoint(path)
    with pytest.raises(FileNotFoundError):
        SECheckpoint(tmp_path / "absent.ckpt")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ValueError, match="has no checkpoint"):
        SECheckpoint(folder)
    (folder / "directory.ckpt").mkdir()
    with pytest.raises((ValueError, OSError)):
        SECheckpoint(folder)
    for name in ("a.ckpt", "b.ckpt"):
        shutil.copy(checkpoint.path, folder / name)
    (folder / "directory.ckpt").rmdir()
    with pytest.raises(ValueError, match="several checkpoints"):
        SECheckpoint(folder)


def test_damage_inside_the_archive(tmp_path, checkpoint):
    """Records that lie about their size or are gone."""

    def rewrite(change, compression=zipfile.ZIP_STORED):
        path = tmp_path / "damaged.ckpt"
        with (
            zipfile.ZipFile(checkpoint.path) as old,
            zipfile.ZipFile(path, "w", compression) as new,
        ):
            for name in old.namelist():
                data = change(name, old.read(name))
                if data is not None:
                    new.writestr(name, data)
        return path

    changes = [
        lambda name, data: None if name.endswith("data/3") else data,
        lambda name, data: data[:-4] if name.endswith("data/3") else data,
        lambda name, data: data[: len(data) // 2] if "data.pkl" in name else data,
        lambda name, data: b"big" if name.endswith("byteorder") else data,
    ]
    for change in changes:
        with pytest.raises(ValueError, match="damaged"):
            SECheckpoint(rewrite(change))
    with pytest.raises(ValueError, match="compressed"):
        SECheckpoint(rewrite(lambda name, data: data, zipfile.ZIP_DEFLATED))
    same(SECheckpoint(rewrite(lambda name, data: data)), checkpoint)


def test_safetensors_that_are_damaged(tmp_path):
    path = SECheckpoint.create(tmp_path / "model", random_state=0).path
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match="safetensors"):
        SECheckpoint(path)


def test_tensor_beyond_its_storage(tmp_path, content):
    """A view that reads other memory is refused."""
    name = "decoder.1.bias"
    path = save(tmp_path, content)
    with zipfile.ZipFile(path) as archive:
        records = {n: archive.read(n) for n in archive.namelist()}
    program = next(n for n in records if n.endswith("data.pkl"))
    at = records[program].index(name.encode())
    # BININT1 24, the tensor's size, is what follows its storage.
    size = records[program].index(b"K\x18", at + len(name) + 60)
    changed = bytearray(records[program])
    changed[size : size + 2] = b"K\xff"
    records[program] = bytes(changed)
    with zipfile.ZipFile(path, "w") as archive:
        for record, data in records.items():
            archive.writestr(record, data)
    with pytest.raises(ValueError, match="larger than its record"):
        SECheckpoint(path)


def test_copies(checkpoint):
    assert clone(SEEmbedding(checkpoint)).checkpoint is checkpoint
    assert copy.deepcopy(checkpoint) is checkpoint
    data = pickle.dumps(checkpoint)
    assert len(data) < 1000
    same(pickle.loads(data), checkpoint)
