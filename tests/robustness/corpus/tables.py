"""Tables and lists as text, and parquet."""

import numpy as np
import pandas as pd

from tests.robustness.cases import accepted, cases, refused, survived, warned
from tests.robustness.damage import (
    SPECIAL,
    changed,
    compressed,
    content,
    cut,
    edited,
    encoded,
    folder,
    removed,
)

ID_MAP = "op2/id_map.csv"


def _first_rows(function):
    """Change the lines of a text, of which the first is the header."""

    def change(text):
        header, *rows = text.splitlines()
        return "\n".join([header, *function(rows)]) + "\n"

    return edited(change)


def _frame(function):
    """Change a parquet file by ``function(frame)``."""

    def damage(path):
        frame = pd.read_parquet(path)
        found = function(frame)
        (frame if found is None else found).to_parquet(path)

    return damage


def _renamed_column(old, new):
    return edited(lambda text: text.replace(old, new, 1))


_SPECIAL = [(name, damage, refused()) for name, damage in SPECIAL]

_id_map = cases(
    "csv: id_map",
    ID_MAP,
    "load_op2",
    [
        ("empty", content(""), refused()),
        ("a header only", _first_rows(lambda rows: []), refused()),
        ("blank lines only", content("\n\n\n"), refused()),
        ("byte order mark", encoded("utf-8-sig"), accepted()),
        ("line ends of Windows", edited(lambda t: t.replace("\n", "\r\n")), accepted()),
        ("line ends of old Macs", edited(lambda t: t.replace("\n", "\r")), accepted()),
        ("blank lines between", edited(lambda t: t.replace("\n", "\n\n")), accepted()),
        ("quoted fields", _first_rows(
            lambda rows: [",".join(f'"{f}"' for f in r.split(",")) for r in rows]
        ), accepted()),
        ("UTF-16", encoded("utf-16"), accepted()),
        ("not UTF-8", encoded("latin-1", lambda t: t + "999,caf\xe9,T cells\n"), refused()),
        ("null characters", edited(lambda t: t.replace(",", ",\0", 3)), refused()),
        ("semicolons", edited(lambda t: t.replace(",", ";")), refused()),
        ("tabs", edited(lambda t: t.replace(",", "\t")), refused()),
        ("a field too many", _first_rows(lambda r: [r[0] + ",x", *r[1:]]), refused()),
        ("fields too many in all rows", _first_rows(lambda r: [x + ",x" for x in r]), refused()),
        ("a field too few", _first_rows(lambda r: [*r[:-1], r[-1].rpartition(",")[0]]), refused()),
        ("a quote that never ends", _first_rows(lambda r: [r[0] + ',"', *r[1:]]), refused()),
        ("a column twice", edited(
            lambda t: "\n".join(x + "," + x.split(",")[1] for x in t.splitlines())
        ), refused("more than once")),
        ("no column of compounds", _renamed_column("sm_name", "compound"), refused("sm_name")),
        ("another case in the header", _renamed_column("cell_type", "Cell_Type"), refused("cell_type")),
        ("a repeated id", _first_rows(lambda r: [r[0], *r]), refused("id")),
        ("a missing id", _first_rows(lambda r: ["," + r[0].partition(",")[2], *r[1:]]), refused("id")),
        ("an empty compound", _first_rows(
            lambda r: [",".join([r[0].split(",")[0], "", ""]), *r[1:]]
        ), refused()),
        ("a field of a million characters", _first_rows(
            lambda r: [*r, "999," + "x" * 10**6 + ",T cells"]
        ), survived()),
        ("compressed", compressed, accepted()),
        ("200,000 columns", edited(
            lambda t: t.partition("\n")[0] + "".join(f",c{i}" for i in range(200_000))
            + "\n" + "\n".join(t.splitlines()[1:]) + "\n"
        ), survived()),
        ("missing", removed, accepted(same=False)),  # nothing is to be predicted
        ("a folder", folder, refused()),
        *_SPECIAL,
    ],
)  # fmt: skip

_train = cases(
    "csv: de_train",
    "own/de_train.csv",
    "load_op2 csv",
    [
        ("empty", content(""), refused()),
        ("a header only", _first_rows(lambda rows: []), refused()),
        ("byte order mark", encoded("utf-8-sig"), accepted()),
        ("line ends of Windows", edited(lambda t: t.replace("\n", "\r\n")), accepted()),
        ("UTF-16", encoded("utf-16"), accepted()),
        ("compressed", compressed, accepted()),
        ("not UTF-8", encoded("latin-1", lambda t: t.replace("cells", "cell\xe9s", 1)), refused()),
        ("null characters", edited(lambda t: t.replace(",", ",\0", 3)), refused()),
        ("semicolons", edited(lambda t: t.replace(",", ";")), refused()),
        ("a field too many", _first_rows(lambda r: [r[0] + ",x", *r[1:]]), refused()),
        ("half a row", cut(0.9), refused()),
        ("a gene twice", edited(
            lambda t: "\n".join(x + "," + x.split(",")[-1] for x in t.splitlines())
        ), refused("more than once")),
        ("no column of compounds", _renamed_column("sm_name", "agent"), refused("agent")),
        ("commas for points", _first_rows(
            lambda r: [r[0].rpartition(",")[0] + ',"1,5"', *r[1:]]
        ), refused("1,5")),
        ("a value that is infinite", _first_rows(
            lambda r: [r[0].rpartition(",")[0] + ",inf", *r[1:]]
        ), refused()),
        ("an empty value", _first_rows(
            lambda r: [r[0].rpartition(",")[0] + ",", *r[1:]]
        ), refused()),
        ("an empty compound", edited(lambda t: t.replace(t.split(",")[20], "", 1)), survived()),
        ("a field of a million characters", edited(
            lambda t: t.replace("cells", "x" * 10**6, 1)
        ), survived()),
        ("a million columns", edited(
            lambda t: t.partition("\n")[0] + ",c" * 10**6 + "\n"
        ), refused()),
        ("a folder", folder, refused()),
        *_SPECIAL[:2],
    ],
)  # fmt: skip

_submission = cases(
    "csv: sample_submission",
    "op2/sample_submission.csv",
    "load_op2",
    [
        ("empty", content(""), refused()),
        ("a gene twice", edited(lambda t: "id,g,g\n0,0,0\n"), refused("g")),
        ("other genes", edited(lambda t: "id,other\n0,0\n"), refused()),
        ("byte order mark", encoded("utf-8-sig"), accepted()),
        ("UTF-16", encoded("utf-16"), accepted()),
        ("null characters", content("id\0,\0\n"), refused()),
        ("a header without an end", content("id,\"" + "x" * 200_000), refused()),
        *_SPECIAL[:2],
    ],
)  # fmt: skip

_parquet = cases(
    "parquet",
    "op2/de_train.parquet",
    "load_op2",
    [
        ("empty", content(b""), refused()),
        ("text", content("sm_name,cell_type\n"), refused()),
        ("the magic number only", content(b"PAR1PAR1"), refused()),
        ("first half", cut(0.5), refused()),
        ("without its end", cut(0.999), refused()),
        ("a footer that is too long", changed(
            lambda d: d[:-8] + (2**31 - 1).to_bytes(4, "little") + b"PAR1"
        ), refused()),
        ("zeros in the middle", changed(
            lambda d: d[: len(d) // 4] + bytes(len(d) // 2) + d[3 * len(d) // 4 :]
        ), refused()),
        ("no rows", _frame(lambda f: f.iloc[:0]), refused("no rows")),
        ("no genes", _frame(lambda f: f.iloc[:, :5]), refused()),
        ("a value that is NaN", _frame(lambda f: f.assign(**{f.columns[-1]: np.nan})), refused()),
        ("infinite values", _frame(lambda f: f.assign(**{f.columns[-1]: np.inf})), refused()),
        ("complex text as values", _frame(lambda f: f.assign(**{f.columns[-1]: "1+2j"})), refused()),
        ("lists as values", _frame(
            lambda f: f.assign(**{f.columns[-1]: [[1.0, 2.0]] * len(f)})
        ), refused()),
        ("dates as values", _frame(
            lambda f: f.assign(**{f.columns[-1]: pd.Timestamp("2020-01-01")})
        ), refused()),
        ("missing labels", _frame(lambda f: f.assign(sm_name=None)), refused("sm_name")),
        ("no column of contexts", _frame(lambda f: f.drop(columns="cell_type")), refused("cell_type")),
        ("float32", _frame(lambda f: f.astype(dict.fromkeys(f.select_dtypes("f8"), "f4"))), accepted(same=False)),
        ("categories as labels", _frame(
            lambda f: f.astype({"sm_name": "category", "cell_type": "category"})
        ), accepted()),
        ("an index without a name", _frame(
            lambda f: f.set_axis([f"row {i}" for i in range(len(f))])
        ), accepted()),
        ("a flag of controls that is text", _frame(lambda f: f.assign(control="maybe")), refused("control")),
        ("a folder", folder, refused()),
        *_SPECIAL,
    ],
)  # fmt: skip

_wanted = cases(
    "csv: perturbations",
    "wanted.csv",
    "predict-cells csv",
    [
        ("empty", content(""), refused()),
        ("a header only", content("target_gene\n"), refused()),
        ("no such column", content("gene\nGENE1\n"), refused("target_gene")),
        ("semicolons", edited(lambda t: t.replace(",", ";")), refused()),
        ("a gene called NA", content("target_gene,n_cells\nNA,2\n"), warned("NA", same=False)),
        ("not a whole number", content("target_gene,n_cells\nGENE1,2.7\n"), refused()),
        ("infinitely many", content("target_gene,n_cells\nGENE1,inf\n"), refused()),
        ("10^15 cells", content("target_gene,n_cells\nGENE1,1000000000000000\n"), refused()),
        ("10^30 cells", content("target_gene,n_cells\nGENE1,1e30\n"), refused()),
        ("negative", content("target_gene,n_cells\nGENE1,-2\n"), refused()),
        ("no number", content("target_gene,n_cells\nGENE1,few\n"), refused()),
        ("ragged", content("target_gene,n_cells\nGENE1,2,3\n"), refused()),
        ("ragged in all rows", content("target_gene,n_cells\nx,GENE1,2\ny,GENE2,3\n"), refused()),
        ("a column twice", content("target_gene,target_gene\nGENE1,GENE2\n"), refused()),
        ("UTF-16", encoded("utf-16"), accepted()),
        ("byte order mark", encoded("utf-8-sig"), accepted()),
        ("line ends of Windows", edited(lambda t: t.replace("\n", "\r\n")), accepted()),
        ("null characters", content("target_gene\nGE\0NE1\n"), refused()),
        ("escape codes", content("target_gene\n\x1b[31mGENE1\n"), refused()),
        ("a million characters", content("target_gene\n" + "x" * 10**6 + "\n"), refused()),
        ("a quote that never ends", content('target_gene\n"GENE1\nGENE2\n'), refused()),
        *_SPECIAL,
    ],
) + cases(
    "txt: perturbations",
    "wanted.txt",
    "predict-cells txt",
    [
        ("empty", content(""), refused()),
        ("blank lines", content("\n \n"), refused()),
        ("byte order mark", encoded("utf-8-sig"), accepted()),
        ("line ends of Windows", edited(lambda t: t.replace("\n", "\r\n")), accepted()),
        ("no last line end", edited(str.rstrip), accepted()),
        ("UTF-16", encoded("utf-16"), accepted()),
        ("not UTF-8", content(b"GENE1\ncaf\xe9\n"), refused()),
        ("null characters", content(b"GENE1\0\n"), refused()),
        ("a file of another kind", changed(lambda d: bytes(range(256)) * 4), refused()),
        ("a plus and nothing", content("GENE1+\n"), warned("GENE1+", same=False)),
        ("three in one", content("GENE1+GENE2+GENE3\n"), accepted(same=False)),
        *_SPECIAL[:2],
    ],
)  # fmt: skip

_sets = cases(
    "gmt",
    "sets.gmt",
    "GeneSetEncoder",
    [
        ("empty", content(""), refused()),
        ("compressed, without the name", compressed, accepted()),
        ("not UTF-8", encoded("latin-1", lambda t: t.replace("made up", "TGF-\xdf", 1)), refused()),
        ("UTF-16", encoded("utf-16"), accepted()),
        ("byte order mark", encoded("utf-8-sig"), accepted()),
        ("line ends of Windows", edited(lambda t: t.replace("\n", "\r\n")), accepted()),
        ("blank lines", edited(lambda t: t.replace("\n", "\n\n")), accepted()),
        ("commas", edited(lambda t: t.replace("\t", ",")), refused()),
        ("blanks", edited(lambda t: t.replace("\t", " ")), refused()),
        ("a set without genes", edited(lambda t: t + "last\tmade up\n"), refused()),
        ("null characters", edited(lambda t: t.replace("GENE2", "GE\0NE2")), refused()),
        ("a file of another kind", content(bytes(range(256)) * 8), refused()),
        ("weights of genes", edited(lambda t: t.replace("GENE2\t", "GENE2,1.0\t")), accepted()),
        ("a folder", folder, refused()),
        ("missing", removed, refused()),
        *_SPECIAL,
    ],
)  # fmt: skip

_gene_map = cases(
    "tsv: gene map",
    "map.tsv",
    "embed --gene-map",
    [
        ("empty", content(""), refused()),
        ("one column", content("a\nGENE1\n"), refused()),
        ("three columns", edited(lambda t: t.replace("\n", "\tx\n")), refused()),
        ("commas", edited(lambda t: t.replace("\t", ",")), refused()),
        ("UTF-16", encoded("utf-16"), accepted()),
        ("byte order mark", encoded("utf-8-sig"), accepted()),
        ("ragged", edited(lambda t: t + "a\tb\tc\n"), refused()),
        ("null characters", edited(lambda t: t.replace("GENE2", "GE\0NE2")), refused()),
        ("no known genes", content("a\tb\nx\ty\n"), refused()),
        *_SPECIAL[:2],
    ],
)  # fmt: skip

_contest = (
    cases(
        "csv: compounds to predict",
        "vcpi/test_compounds.csv",
        "load_vcpi",
        [
            ("empty", content(""), refused()),
            ("a header only", _first_rows(lambda rows: []), refused()),
            ("semicolons", edited(lambda t: t.replace(",", ";")), refused()),
            ("UTF-16", encoded("utf-16"), accepted()),
            ("no structures", _renamed_column("smiles", "structure"), refused("smiles")),
            ("a compound twice", _first_rows(lambda r: [r[0], *r]), refused("9000000")),
            ("another dose", edited(lambda t: t.replace(",10.0,", ",1.0,")), refused("sample")),
            ("a dose that is none", edited(lambda t: t.replace(",10.0,", ",high,")), refused("sample")),
            ("a million characters", edited(lambda t: t.replace("CC", "C" * 10**6, 1)), survived()),
            *_SPECIAL[:2],
        ],
    )
    + cases(
        "csv: genes to score",
        "vcpi/gene_filter.csv",
        "load_vcpi",
        [
            ("empty", content(""), refused()),
            ("a gene twice", edited(lambda t: t + "ENSG1\n"), refused("ENSG1")),
            ("an unknown gene", edited(lambda t: t + "ENSG7\n"), refused("ENSG7")),
            ("another header", _renamed_column("gene_id", "gene"), refused("gene_id")),
            ("null characters", edited(lambda t: t.replace("1", "\0")), refused()),
            *_SPECIAL[:2],
        ],
    )
    + cases(
        "parquet: counts",
        "vcpi/train_counts.parquet",
        "load_vcpi",
        [
            ("first half", cut(0.5), refused()),
            ("the magic number only", content(b"PAR1PAR1"), refused()),
            ("no genes", _frame(lambda f: f.drop(columns="gene_id")), refused("gene_id")),
            ("no rows", _frame(lambda f: f.iloc[:0]), refused()),
            ("a sample less", _frame(lambda f: f.drop(columns="105")), refused("105")),
            ("a sample more", _frame(lambda f: f.assign(x=1)), accepted()),
            ("infinite", _frame(lambda f: f.assign(**{"101": np.inf})), refused("101")),
            ("logarithms", _frame(lambda f: f.assign(**{"101": 0.5})), refused("101")),
            ("negative", _frame(lambda f: f.assign(**{"101": -1})), refused("101")),
            ("beyond all numbers", _frame(lambda f: f.assign(**{"101": 1e308})), refused("101")),
            ("text", _frame(lambda f: f.assign(**{"101": "x"})), refused("101")),
            ("lists", _frame(lambda f: f.assign(**{"101": [[1]] * len(f)})), refused("101")),
            ("floats", _frame(lambda f: f.astype({"101": float})), accepted()),
            ("all zero", _frame(lambda f: f.assign(**dict.fromkeys(f.columns[1:], 0))), refused()),
            *_SPECIAL[:2],
        ],
    )
    + cases(
        "parquet: samples",
        "vcpi/train_metadata.parquet",
        "load_vcpi",
        [
            ("text", content("sequenced_id\n"), refused()),
            ("no compounds", _frame(lambda f: f.drop(columns="user_compound_id")), refused("user_compound_id")),
            ("missing compounds", _frame(lambda f: f.assign(user_compound_id=None)), refused("user_compound_id")),
            ("one id for all", _frame(lambda f: f.assign(sequenced_id=101)), refused("101")),
            ("ids as floats", _frame(lambda f: f.astype({"sequenced_id": float})), accepted()),
            ("other cells", _frame(lambda f: f.assign(cell_line="K562")), refused("K562")),
        ],
    )
    + cases(
        "parquet: structures",
        "vcpi/train_chemistry.parquet",
        "load_vcpi",
        [
            ("no structures", _frame(lambda f: f.drop(columns="smiles")), refused("smiles")),
            ("missing structures", _frame(lambda f: f.assign(smiles=None)), accepted(same=False)),
            ("no rows", _frame(lambda f: f.iloc[:0]), refused("no rows")),
        ],
    )
    + cases(
        "parquet: weights",
        "vcpi/weights.parquet",
        "load_vcpi",
        [
            ("first half", cut(0.5), refused()),
            ("negative", _frame(lambda f: -f), refused()),
            ("NaN", _frame(lambda f: f * np.nan), refused()),
            ("zeros", _frame(lambda f: 0 * f), refused("weighs no gene")),
            ("text", _frame(lambda f: f.astype(str)), refused()),
            ("turned around", _frame(lambda f: f.T), refused()),
            ("a compound less", _frame(lambda f: f.iloc[:, 1:]), warned("left out", same=False)),
            ("missing", removed, accepted(same=False)),
        ],
    )
)  # fmt: skip

CASES = [
    *_contest,
    *_id_map,
    *_train,
    *_submission,
    *_parquet,
    *_wanted,
    *_sets,
    *_gene_map,
]
