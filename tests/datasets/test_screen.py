import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from sklperturb.datasets import make_chemical_screen
from sklperturb.datasets._invented import MAX_COMPOUNDS, invent_compounds
from sklperturb.datasets._screen import signed_log10_p


@pytest.fixture(scope="module")
def full_screen():
    return make_chemical_screen(random_state=0)


def test_full_size_has_the_shape_of_op2(full_screen):
    assert full_screen.X.shape == (614, 5)
    assert full_screen.y.shape == (614, 18211)
    assert full_screen.X_test.shape == (255, 5)
    assert full_screen.y_test.shape == (255, 18211)
    assert full_screen.X["cell_type"].value_counts().to_dict() == {
        "NK cells": 146,
        "T cells CD4+": 146,
        "T regulatory cells": 146,
        "T cells CD8+": 142,
        "B cells": 17,
        "Myeloid cells": 17,
    }
    assert set(full_screen.X_test["cell_type"]) == {"B cells", "Myeloid cells"}
    assert full_screen.X["control"].sum() == 12
    assert not full_screen.X_test["control"].any()
    assert full_screen.X.columns.equals(full_screen.X_test.columns)
    both = pd.concat([full_screen.X, full_screen.X_test])
    assert not both.duplicated(["cell_type", "sm_name"]).any()
    assert set(full_screen.X_test["sm_name"]) <= set(full_screen.X["sm_name"])


def test_full_size_has_the_statistics_of_op2(full_screen):
    """The left-hand numbers are OP2's, as in the docstring's table."""
    y = full_screen.y.to_numpy()
    mean, sd = y.mean(), y.std()
    inside = np.abs(y - mean) < 3 * sd
    row_rms = np.sqrt(np.mean(y**2, axis=1))
    compound_rms = pd.Series(row_rms).groupby(full_screen.X["sm_name"]).mean()
    strongest = compound_rms.sort_values(ascending=False).to_numpy()
    assert mean == pytest.approx(0.3, abs=0.05)
    assert sd == pytest.approx(2.4, abs=0.2)
    assert inside.mean() == pytest.approx(0.986, abs=0.003)
    assert y[inside].std() == pytest.approx(1.06, abs=0.05)
    assert row_rms.mean() == pytest.approx(1.2815, abs=0.04)
    assert np.abs(y).max() == pytest.approx(180.5, abs=30)
    assert np.abs(y).max(axis=0).min() == pytest.approx(2.53, abs=0.4)
    assert strongest[0] == pytest.approx(11.67, abs=1.0)
    assert strongest[:5] == pytest.approx([11.67, 8.72, 7.95, 7.2, 6.82], rel=0.4)
    assert strongest[-1] == pytest.approx(0.52, abs=0.03)
    assert np.sqrt(np.mean(full_screen.y_test**2, axis=1)).mean() < 0.9 * row_rms.mean()


def test_same_seed_same_bits():
    one, two, other = (
        make_chemical_screen(4, 20, 50, random_state=seed) for seed in (3, 3, 4)
    )
    for field in ("X", "y", "X_test", "y_test", "id_map"):
        pd.testing.assert_frame_equal(one[field], two[field], check_exact=True)
    assert not one.y.equals(other.y)


def test_global_random_state_is_left_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    make_chemical_screen(4, 20, 50, random_state=1)
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ((2, 2, 1), {"n_target_contexts": 1}),
        ((3, 4, 5), {"n_target_contexts": 2, "n_shared": 1}),
        ((9, 12, 7), {"n_target_contexts": 3, "n_shared": 0}),
        ((4, 400, 3), {"n_test_compounds": 5, "n_lost": (10, 2)}),
    ],
)
def test_small_and_odd_sizes(sizes, options):
    screen = make_chemical_screen(*sizes, random_state=0, **options)
    assert screen.y.shape == (len(screen.X), sizes[2])
    assert screen.y_test.shape == (len(screen.X_test), sizes[2])
    assert len(screen.X_test) > 0
    assert screen.X["sm_name"].nunique() == sizes[1]
    assert np.isfinite(screen.y).all(axis=None)
    contexts = set(screen.X["cell_type"]) | set(screen.X_test["cell_type"])
    assert len(contexts) == sizes[0]


def test_lost_conditions_are_strong_and_counted():
    whole = make_chemical_screen(4, 30, 20, n_lost=(0, 0), random_state=0)
    screen = make_chemical_screen(4, 30, 20, n_lost=(3, 2), random_state=0)
    assert len(screen.X) == len(whole.X) - 3
    assert len(screen.X_test) == len(whole.X_test) - 2


def _correlation(one, two):
    return np.corrcoef(np.ravel(one), np.ravel(two))[0, 1]


def test_relatives_by_scaffold_respond_alike():
    """The 30 strongest compounds: their own programmes, less what all share."""
    alike = {}
    for share in (0.0, 0.9):
        screen = make_chemical_screen(
            2, 40, 400, n_target_contexts=1, scaffold_share=share, strong_fraction=1,
            context_specificity=0, random_state=0,
        )  # fmt: skip
        rows = screen.X["cell_type"] == "NK cells"
        y = np.arcsinh(screen.y[rows].to_numpy())
        y -= y.mean(axis=0)
        stem = screen.X["sm_name"][rows].str[-4:].to_numpy()
        same = (stem[:, None] == stem) & ~np.eye(len(stem), dtype=bool)
        alike[share] = np.corrcoef(y)[same].mean()
    assert alike[0.9] > alike[0.0] + 0.3


def test_contexts_are_informative_but_not_identical():
    agreement = {}
    for specificity in (0.0, 0.9):
        screen = make_chemical_screen(
            3, 30, 300, n_target_contexts=1, n_lost=(0, 0), strong_fraction=1,
            context_specificity=specificity, random_state=1,
        )  # fmt: skip
        rows = screen.X.reset_index().pivot(
            index="sm_name", columns="cell_type", values="index"
        )
        y = np.arcsinh(screen.y.to_numpy())
        first, second = rows["NK cells"].astype(int), rows["T cells CD4+"].astype(int)
        agreement[specificity] = _correlation(y[first], y[second])
    assert 0.95 > agreement[0.0] > agreement[0.9] + 0.1


def test_noise_of_the_control_is_common_to_a_context():
    common = {}
    for share in (0.0, 0.8):
        screen = make_chemical_screen(
            2, 60, 300, n_target_contexts=1, effect_strength=0,
            control_noise_share=share, random_state=0,
        )  # fmt: skip
        y = screen.y[screen.X["cell_type"] == "NK cells"].to_numpy()
        common[share] = y.mean(axis=0).std()
    assert common[0.8] > common[0.0] + 0.2


def test_structures_are_valid_and_distinct():
    Chem = pytest.importorskip("rdkit.Chem")
    compounds = invent_compounds(1000, np.random.default_rng(0))
    molecules = [Chem.MolFromSmiles(smiles) for smiles in compounds["SMILES"]]
    assert all(molecule is not None for molecule in molecules)
    assert len({Chem.MolToSmiles(molecule) for molecule in molecules}) == 1000
    assert compounds["sm_name"].is_unique
    assert compounds["sm_lincs_id"].is_unique
    assert compounds["sm_lincs_id"].str.fullmatch(r"LSM-\d+").all()


def test_as_many_compounds_as_promised():
    compounds = invent_compounds(MAX_COMPOUNDS, np.random.default_rng(0))
    assert compounds["SMILES"].is_unique
    assert compounds["sm_name"].is_unique


def test_signed_log10_p_does_not_underflow():
    t = np.array([-2.5, 0.0, 1.0, 3.0])
    expected = -np.sign(t) * np.log10(2 * norm.sf(np.abs(t)))
    assert signed_log10_p(t) == pytest.approx(expected)
    assert signed_log10_p(np.array([40.0]))[0] == pytest.approx(349.136, abs=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_contexts": 1}, r"'n_contexts' .* Got 1"),
        ({"n_genes": 0}, r"'n_genes' .* Got 0"),
        ({"n_compounds": 10**6}, r"\[2, 5184\]. Got 1000000"),
        ({"n_target_contexts": 4}, "n_target_contexts=4 leaves none"),
        ({"n_shared": 20}, "n_shared=20 leaves none of the n_compounds=20"),
        ({"n_test_compounds": 18}, "n_test_compounds=18 exceeds the 16 compounds"),
        ({"n_lost": (40, 0)}, r"n_lost=\(40, 0\) asks to lose 40 conditions"),
        ({"n_lost": (0, 17)}, "asks to lose 17 conditions to predict"),
        ({"scaffold_share": 1.5}, r"'scaffold_share' .* Got 1.5"),
        ({"effect_strength": -1}, r"'effect_strength' .* Got -1"),
        ({"control_noise_share": float("nan")}, r"'control_noise_share' .* Got nan"),
    ],
)
def test_impossible_requests(options, message):
    sizes = {"n_contexts": 4, "n_compounds": 20, "n_genes": 50}
    with pytest.raises(ValueError, match=message):
        make_chemical_screen(**(sizes | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_genes": 5.0}, r"must be an int .* Got 5.0"),
        ({"scaffold_share": "a"}, r"'scaffold_share' .* Got 'a'"),
        ({"n_lost": 3}, "must be an instance of 'tuple'"),
    ],
)
def test_requests_of_the_wrong_kind(options, message):
    sizes = {"n_contexts": 4, "n_compounds": 20, "n_genes": 50}
    with pytest.raises(TypeError, match=message):
        make_chemical_screen(**(sizes | options))
