"""Fetch public screens: download them once, check them, and load them."""

from numbers import Integral, Real
from os import PathLike

from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from sklperturb.conditions import PerturbationSchema
from sklperturb.datasets._op2 import load_op2
from sklperturb.datasets._perturbseq import load_perturbseq
from sklperturb.downloads._kept import fetch_screen
from sklperturb.downloads._screens import SCREENS

_DOWNLOAD = {
    "data_home": [str, PathLike, None],
    "download_if_missing": ["boolean"],
    "n_retries": [Interval(Integral, 0, None, closed="left")],
    "delay": [Interval(Real, 0, None, closed="left")],
}
_CELLS = {"backed": ["boolean"], **_DOWNLOAD}


@validate_params(
    {"layer": [str, None], **_DOWNLOAD}, prefer_skip_nested_validation=True
)
def fetch_op3(
    *,
    layer=None,
    data_home=None,
    download_if_missing=True,
    n_retries=3,
    delay=1.0,
):
    """Fetch the signatures of OP3: compounds on blood cells (292 MB).

    The responses to the conditions to predict, `y_test`, come with them: they are for a
    last score, and not for choosing a model.

    Parameters
    ----------
    layer : str, default=None
        As in :func:`load_op2`.
    data_home : str or path-like, default=None
        Folder that screens are kept in; see :func:`get_data_home`.
    download_if_missing : bool, default=True
        Whether to download what is not there. If False, the network is not touched.
    n_retries : int, default=3
        How often a connection that fails or breaks off is tried again.
    delay : float, default=1.0
        Seconds before the first of these tries; each one waits twice as long.

    Returns
    -------
    screen : :class:`~sklearn.utils.Bunch`
        As :func:`load_op2` gives it, with

        license, citation : str
            The terms of the data, and what to cite.
        paths : list of Path
            The files.

    Raises
    ------
    FileNotFoundError
        If a file is absent and `download_if_missing` is False.
    OSError
        If a file does not arrive, or cannot be kept.
    ValueError
        If a file has changed since it was downloaded.
    ImportError
        If a file is absent, and the packages of the extra ``fetch`` are too.

    See Also
    --------
    load_op2 : Load files that you have.

    Notes
    -----
    The files are ``de_train.h5ad``, ``de_test.h5ad`` and ``id_map.csv`` of the Open
    Problems benchmark [1]_. No public source says their SHA-256: that of the first
    download is kept beside each, and a file that differs later is refused.

    References
    ----------
    .. [1] Szalata et al., "A benchmark for prediction of transcriptomic responses to
       chemical perturbations across cell types", NeurIPS Datasets and Benchmarks
       Track, 2024; data: GEO GSE279945.

    Examples
    --------
    >>> from sklperturb.datasets import fetch_op3
    >>> screen = fetch_op3()  # doctest: +SKIP
    """
    options = _options(download_if_missing, n_retries, delay)
    paths = fetch_screen("op3", data_home, **options)
    return _with_terms(load_op2(paths[0].parent, layer=layer), "op3", paths)


@validate_params(_CELLS, prefer_skip_nested_validation=True)
def fetch_norman_2019(
    *,
    backed=False,
    data_home=None,
    download_if_missing=True,
    n_retries=3,
    delay=1.0,
):
    """Fetch cells of Norman 2019: genes and pairs activated in K562 (699 MB).

    Parameters
    ----------
    backed : bool, default=False
        Leave the expression in the file, and read the cells that are asked for. The
        file has it by genes, which makes this slow; in memory its 362 million counts
        take about 3 GB, and more while they are read.
    data_home : str or path-like, default=None
        Folder that screens are kept in; see :func:`get_data_home`.
    download_if_missing : bool, default=True
        Whether to download what is not there. If False, the network is not touched.
    n_retries : int, default=3
        How often a connection that fails or breaks off is tried again.
    delay : float, default=1.0
        Seconds before the first of these tries; each one waits twice as long.

    Returns
    -------
    screen : :class:`~sklearn.utils.Bunch`
        As :func:`load_perturbseq` gives it, with `license`, `citation` and `paths` as
        in :func:`fetch_op3`. The counts of 111,445 cells.

    Raises
    ------
    OSError, ValueError, ImportError
        As in :func:`fetch_op3`.

    See Also
    --------
    load_perturbseq : Load files that you have.

    Notes
    -----
    The screen is that of [1]_, in the file of scPerturb 1.4 [2]_.

    References
    ----------
    .. [1] Norman et al., "Exploring genetic interaction manifolds constructed from rich
       single-cell phenotypes", Science, 2019. :doi:`10.1126/science.aax4438`
    .. [2] Peidli et al., "scPerturb: harmonized single-cell perturbation data", Nature
       Methods, 2024. :doi:`10.1038/s41592-023-02144-y`

    Examples
    --------
    >>> from sklperturb.datasets import fetch_norman_2019
    >>> screen = fetch_norman_2019()  # doctest: +SKIP
    """
    options = _options(download_if_missing, n_retries, delay)
    return _fetch_cells("norman_2019", data_home, options, backed=backed)


@validate_params(
    {"cell_line": [StrOptions({"K562", "RPE1"})], **_CELLS},
    prefer_skip_nested_validation=True,
)
def fetch_replogle_2022(
    cell_line="K562",
    *,
    backed=True,
    data_home=None,
    download_if_missing=True,
    n_retries=3,
    delay=1.0,
):
    """Fetch cells of Replogle 2022: essential genes knocked down (1.5 or 1.2 GB).

    Parameters
    ----------
    cell_line : {"K562", "RPE1"}, default="K562"
        Which of the two screens of essential genes.
    backed : bool, default=True
        Leave the expression in the file, and read the cells that are asked for. All
        zeros are stored, so that it takes more than 8 GB in memory.
    data_home : str or path-like, default=None
        Folder that screens are kept in; see :func:`get_data_home`.
    download_if_missing : bool, default=True
        Whether to download what is not there. If False, the network is not touched.
    n_retries : int, default=3
        How often a connection that fails or breaks off is tried again.
    delay : float, default=1.0
        Seconds before the first of these tries; each one waits twice as long.

    Returns
    -------
    screen : :class:`~sklearn.utils.Bunch`
        As :func:`load_perturbseq` gives it, with `license`, `citation` and `paths` as
        in :func:`fetch_op3`. The counts of 310,385 or 247,914 cells.

    Raises
    ------
    OSError, ValueError, ImportError
        As in :func:`fetch_op3`.

    See Also
    --------
    load_perturbseq : Load files that you have, such as the genome-wide screen.

    Notes
    -----
    The screens are those of [1]_, in the files of scPerturb 1.4 [2]_.

    References
    ----------
    .. [1] Replogle et al., "Mapping information-rich genotype-phenotype landscapes with
       genome-scale Perturb-seq", Cell, 2022. :doi:`10.1016/j.cell.2022.05.013`
    .. [2] Peidli et al., "scPerturb: harmonized single-cell perturbation data", Nature
       Methods, 2024. :doi:`10.1038/s41592-023-02144-y`

    Examples
    --------
    >>> from sklperturb.datasets import fetch_replogle_2022
    >>> screen = fetch_replogle_2022("RPE1")  # doctest: +SKIP
    """
    name = f"replogle_2022_{cell_line.lower()}"
    options = _options(download_if_missing, n_retries, delay)
    return _fetch_cells(name, data_home, options, backed=backed)


@validate_params(_CELLS, prefer_skip_nested_validation=True)
def fetch_sciplex3(
    *,
    backed=True,
    data_home=None,
    download_if_missing=True,
    n_retries=3,
    delay=1.0,
):
    """Fetch cells of sci-Plex 3: compounds at four doses on three lines (2.5 GB).

    The 36,522 cells of which no compound is known are left out.

    Parameters
    ----------
    backed : bool, default=True
        Leave the expression in the file, and read the cells that are asked for. In
        memory its billion counts take more than 12 GB.
    data_home : str or path-like, default=None
        Folder that screens are kept in; see :func:`get_data_home`.
    download_if_missing : bool, default=True
        Whether to download what is not there. If False, the network is not touched.
    n_retries : int, default=3
        How often a connection that fails or breaks off is tried again.
    delay : float, default=1.0
        Seconds before the first of these tries; each one waits twice as long.

    Returns
    -------
    screen : :class:`~sklearn.utils.Bunch`
        As :func:`load_perturbseq` gives it, with `license`, `citation` and `paths` as
        in :func:`fetch_op3`. The counts of 762,795 cells.

    Raises
    ------
    OSError, ValueError, ImportError
        As in :func:`fetch_op3`.

    See Also
    --------
    load_perturbseq : Load files that you have.

    Notes
    -----
    The screen is that of [1]_, in the file of scPerturb 1.4 [2]_.

    References
    ----------
    .. [1] Srivatsan et al., "Massively multiplex chemical transcriptomics at
       single-cell resolution", Science, 2020. :doi:`10.1126/science.aax6234`
    .. [2] Peidli et al., "scPerturb: harmonized single-cell perturbation data", Nature
       Methods, 2024. :doi:`10.1038/s41592-023-02144-y`

    Examples
    --------
    >>> from sklperturb.datasets import fetch_sciplex3
    >>> screen = fetch_sciplex3()  # doctest: +SKIP
    """
    options = _options(download_if_missing, n_retries, delay)
    kept = {"backed": backed, "drop_unassigned": True}
    return _fetch_cells("sciplex3", data_home, options, **kept)


@validate_params(_CELLS, prefer_skip_nested_validation=True)
def fetch_kang_2018(
    *,
    backed=False,
    data_home=None,
    download_if_missing=True,
    n_retries=3,
    delay=1.0,
):
    """Fetch cells of Kang 2018: blood cells with interferon beta (38 MB).

    Parameters
    ----------
    backed : bool, default=False
        Leave the expression in the file, and read the cells that are asked for. The
        file has it by genes, which makes this slow.
    data_home : str or path-like, default=None
        Folder that screens are kept in; see :func:`get_data_home`.
    download_if_missing : bool, default=True
        Whether to download what is not there. If False, the network is not touched.
    n_retries : int, default=3
        How often a connection that fails or breaks off is tried again.
    delay : float, default=1.0
        Seconds before the first of these tries; each one waits twice as long.

    Returns
    -------
    screen : :class:`~sklearn.utils.Bunch`
        As :func:`load_perturbseq` gives it, with `license`, `citation` and `paths` as
        in :func:`fetch_op3`. The counts of 24,673 cells; the context is the cell type
        and the replicate the donor.

    Raises
    ------
    OSError, ValueError, ImportError
        As in :func:`fetch_op3`.

    See Also
    --------
    load_perturbseq : Load files that you have.

    Notes
    -----
    The screen is that of [1]_, in the file of pertpy [2]_.

    References
    ----------
    .. [1] Kang et al., "Multiplexed droplet single-cell RNA-sequencing using natural
       genetic variation", Nature Biotechnology, 2018. :doi:`10.1038/nbt.4042`
    .. [2] Heumos et al., "Pertpy: an end-to-end framework for perturbation analysis",
       bioRxiv, 2024. :doi:`10.1101/2024.08.04.606516`

    Examples
    --------
    >>> from sklperturb.datasets import fetch_kang_2018
    >>> screen = fetch_kang_2018()  # doctest: +SKIP
    """
    schema = PerturbationSchema(
        "label", context="cell_type", replicate="replicate", control_labels="ctrl"
    )
    options = _options(download_if_missing, n_retries, delay)
    return _fetch_cells("kang_2018", data_home, options, schema=schema, backed=backed)


def _options(download_if_missing, n_retries, delay):
    return {
        "download_if_missing": download_if_missing,
        "n_retries": n_retries,
        "delay": delay,
    }


def _fetch_cells(name, data_home, options, **reading):
    paths = fetch_screen(name, data_home, **options)
    return _with_terms(load_perturbseq(paths[0], **reading), name, paths)


def _with_terms(screen, name, paths):
    """Return a screen with what the terms of its data are."""
    public = SCREENS[name]
    screen.DESCR += (
        f"\n{public.title}. Licence: {public.license}. Please cite: {public.citation}. "
        f"Found by: {public.found}."
    )
    screen.update(license=public.license, citation=public.citation, paths=paths)
    return screen
