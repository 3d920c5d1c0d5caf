"""The public screens that can be fetched, and the terms that they come with.

Where each address, size and hash was found is said beside it. What none of the public
sources says is said to be unknown, and not guessed.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    """A file on a server.

    Attributes
    ----------
    name : str
        Of the file here.
    url : str
    size : int
        Bytes.
    sha256 : str or None
        None where no public source says it: then the first download decides.
    hosts : tuple of str
        Other hosts that the server may lead to.
    """

    name: str
    url: str
    size: int
    sha256: str | None = None
    hosts: tuple = ()


@dataclass(frozen=True)
class PublicScreen:
    """A screen that anyone may download.

    Attributes
    ----------
    name : str
    title : str
    license : str
    citation : str
    found : str
        Where the address and the terms were found.
    files : tuple of RemoteFile
    """

    name: str
    title: str
    license: str
    citation: str
    found: str
    files: tuple

    @property
    def size(self):
        """Bytes of all files."""
        return sum(file.size for file in self.files)


# Sizes are those that Zenodo lists. It lists MD5 only: the SHA-256 are of copies with
# that MD5, as several public repositories have written them down.
_ZENODO = "https://zenodo.org/records/13350497/files/{}?download=1"
_OF_SCPERTURB = "scPerturb 1.4, Zenodo record 13350497 (10.5281/zenodo.13350497)"
_SCPERTURB = (
    "Peidli et al., scPerturb: harmonized single-cell perturbation data, Nature "
    "Methods 2024, doi:10.1038/s41592-023-02144-y"
)
_REPLOGLE = (
    "Replogle et al., Mapping information-rich genotype-phenotype landscapes with "
    "genome-scale Perturb-seq, Cell 2022, doi:10.1016/j.cell.2022.05.013; file: "
    + _SCPERTURB
)


def _scperturb(file_name, size, sha256):
    return (RemoteFile(file_name, _ZENODO.format(file_name), size, sha256),)


# The bucket is that of openproblems-bio/task_perturbation_prediction (its scripts name
# s3://openproblems-data); the folder below it and the sizes are those that the
# downloaders of EinsiaLab/Frontier-Engineering and others use. S3 may lead to the
# region of the bucket. No hash of these files is public.
_OP3 = (
    "https://openproblems-data.s3.amazonaws.com/resources/"
    "task_perturbation_prediction/datasets/neurips-2023-data/"
)
_OP3_HOSTS = ("openproblems-data.s3.us-east-1.amazonaws.com",)

SCREENS = {
    screen.name: screen
    for screen in (
        PublicScreen(
            "op3",
            "OP3: 144 compounds on blood cells of three donors, signatures",
            "CC BY 4.0 (the competition's data, as cards of data sets derived from it "
            "say; the bucket says nothing)",
            "Szalata et al., A benchmark for prediction of transcriptomic responses to "
            "chemical perturbations across cell types, NeurIPS Datasets and Benchmarks "
            "2024; data: GEO GSE279945",
            "openproblems-bio/task_perturbation_prediction and its users",
            (
                RemoteFile(
                    "de_train.h5ad",
                    _OP3 + "de_train.h5ad",
                    183_168_750,
                    hosts=_OP3_HOSTS,
                ),
                RemoteFile(
                    "de_test.h5ad",
                    _OP3 + "de_test.h5ad",
                    109_139_040,
                    hosts=_OP3_HOSTS,
                ),
                RemoteFile("id_map.csv", _OP3 + "id_map.csv", 3860, hosts=_OP3_HOSTS),
            ),
        ),
        PublicScreen(
            "norman_2019",
            "Norman 2019: genes and pairs of genes activated in K562 cells",
            "CC BY 4.0",
            "Norman et al., Exploring genetic interaction manifolds constructed from "
            "rich single-cell phenotypes, Science 2019, doi:10.1126/science.aax4438; "
            "file: " + _SCPERTURB,
            _OF_SCPERTURB,
            _scperturb(
                "NormanWeissman2019_filtered.h5ad",
                698_680_199,
                "efde6f5301fe256725dce1d980f37bd96a13481a9a16135515897368e631affc",
            ),
        ),
        PublicScreen(
            "replogle_2022_k562",
            "Replogle 2022: essential genes knocked down in K562 cells",
            "CC BY 4.0",
            _REPLOGLE,
            _OF_SCPERTURB,
            _scperturb(
                "ReplogleWeissman2022_K562_essential.h5ad",
                1_546_729_675,
                "412fd0df8c4ccea9f4db91cd88033c49200838b29d40945e48574be588b48789",
            ),
        ),
        PublicScreen(
            "replogle_2022_rpe1",
            "Replogle 2022: essential genes knocked down in RPE1 cells",
            "CC BY 4.0",
            _REPLOGLE,
            _OF_SCPERTURB,
            _scperturb(
                "ReplogleWeissman2022_rpe1.h5ad",
                1_236_886_900,
                "12d6a0cf9378c4f09411e27f0ce07b59f1d97731bd576d6fadf112f6f088d1a4",
            ),
        ),
        PublicScreen(
            "sciplex3",
            "sci-Plex 3: 188 compounds at four doses on A549, K562 and MCF7 cells",
            "CC BY 4.0",
            "Srivatsan et al., Massively multiplex chemical transcriptomics at "
            "single-cell resolution, Science 2020, doi:10.1126/science.aax6234; file: "
            + _SCPERTURB,
            _OF_SCPERTURB,
            _scperturb(
                "SrivatsanTrapnell2020_sciplex3.h5ad",
                2_526_631_614,
                "603ed16c5e25401c8a7f5bb0b2b045179701017d65dcfc6aeea71722a66cd10a",
            ),
        ),
        # The address is that of pertpy (src/pertpy/data/_datasets.py). Several public
        # repositories give the same SHA-256 for it and for the older copy of figshare,
        # and the size.
        PublicScreen(
            "kang_2018",
            "Kang 2018: blood cells of eight donors with and without interferon beta",
            "not stated where the file is; the data are public as GEO GSE96583",
            "Kang et al., Multiplexed droplet single-cell RNA-sequencing using natural "
            "genetic variation, Nature Biotechnology 2018, doi:10.1038/nbt.4042; file: "
            "Heumos et al., Pertpy: an end-to-end framework for perturbation analysis, "
            "doi:10.1101/2024.08.04.606516",
            "scverse/pertpy, src/pertpy/data/_datasets.py",
            (
                RemoteFile(
                    "kang_2018.h5ad",
                    "https://exampledata.scverse.org/pertpy/kang_2018.h5ad",
                    38_356_412,
                    "e6a5adac64dcdeb36eaba27db49b63e0c64bb0ed4a64c6705971506b41c39830",
                    hosts=("scverse-exampledata.s3.eu-west-1.amazonaws.com",),
                ),
            ),
        ),
    )
}
