"""What a text about a run cites: publications of its methods and statistics, and of the programs that made it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sepclr_neuro import __version__
from sepclr_neuro.config.model import Config
from sepclr_neuro.config.saliency import ATTRIBUTIONS
from sepclr_neuro.core.references import Reference
from sepclr_neuro.report.methods_text import cited, software
from sepclr_neuro.report.records import Trained

__all__ = ["CHECKLISTS", "references_of"]

_BENJAMINI = Reference(
    "Benjamini Y, Hochberg Y",
    1995,
    "Controlling the false discovery rate: a practical and powerful approach to multiple testing",
    "https://doi.org/10.1111/j.2517-6161.1995.tb02031.x",
    *("Journal of the Royal Statistical Society B", "57", "289–300", "article"),
)
_NADEAU = Reference(
    "Nadeau C, Bengio Y",
    2003,
    "Inference for the generalization error",
    "https://doi.org/10.1023/A:1024068626366",
    *("Machine Learning", "52", "239–281", "article"),
)
_COMBAT = Reference(
    "Fortin J-P, Cullen N, Sheline YI, et al.",
    2018,
    "Harmonization of cortical thickness measurements across scanners and sites",
    "https://doi.org/10.1016/j.neuroimage.2017.11.024",
    *("NeuroImage", "167", "104–120", "article"),
)
_SANITY = Reference(
    "Adebayo J, Gilmer J, Muelly M, et al.",
    2018,
    "Sanity checks for saliency maps",
    "https://arxiv.org/abs/1810.03292",
    "NeurIPS",
    kind="inproceedings",
)
_LOCALISATION = (
    Reference(
        "Arras L, Osman A, Samek W",
        2022,
        "CLEVR-XAI: a benchmark dataset for the ground truth evaluation of neural network explanations",
        "https://doi.org/10.1016/j.inffus.2021.11.008",
        *("Information Fusion", "81", "14–40", "article"),
    ),
    Reference(
        "Zhang J, Bargal SA, Lin Z, et al.",
        2018,
        "Top-down neural attention by excitation backprop",
        "https://doi.org/10.1007/s11263-017-1059-x",
        *("International Journal of Computer Vision", "126", "1084–1102", "article"),
    ),
)
_TEMPLATE = Reference(
    "Fonov V, Evans AC, Botteron K, et al.",
    2011,
    "Unbiased average age-appropriate atlases for pediatric studies",
    "https://doi.org/10.1016/j.neuroimage.2010.07.033",
    *("NeuroImage", "54", "313–327", "article"),
)
_ENIGMA = (
    Reference(
        "van Erp TGM, Hibar DP, Rasmussen JM, et al.",
        2016,
        "Subcortical brain volume abnormalities in 2028 individuals with schizophrenia and 2540 healthy controls via "
        "the ENIGMA consortium",
        "https://doi.org/10.1038/mp.2015.63",
        *("Molecular Psychiatry", "21", "547–553", "article"),
    ),
    Reference(
        "van Erp TGM, Walton E, Hibar DP, et al.",
        2018,
        "Cortical brain abnormalities in 4474 individuals with schizophrenia and 5098 control subjects via the ENIGMA "
        "consortium",
        "https://doi.org/10.1016/j.biopsych.2018.04.023",
        *("Biological Psychiatry", "84", "644–654", "article"),
    ),
    Reference(
        "Larivière S, Paquola C, Park B, et al.",
        2021,
        "The ENIGMA Toolbox: multiscale neural contextualization of multisite neuroimaging datasets",
        "https://doi.org/10.1038/s41592-021-01186-4",
        *("Nature Methods", "18", "698–700", "article"),
    ),
)

CHECKLISTS = (
    Reference(
        "Nichols TE, Das S, Eickhoff SB, et al.",
        2017,
        "Best practices in data analysis and sharing in neuroimaging using MRI",
        "https://doi.org/10.1038/nn.4500",
        *("Nature Neuroscience", "20", "299–303", "article"),
    ),
    Reference(
        "Collins GS, Moons KGM, Dhiman P, et al.",
        2024,
        "TRIPOD+AI statement: updated guidance for reporting clinical prediction models that use regression or machine "
        "learning methods",
        "https://doi.org/10.1136/bmj-2023-078378",
        *("BMJ", "385", "e078378", "article"),
    ),
)
"""COBIDAS and TRIPOD+AI."""

# MONAI's is with its encoders: config/encoders.py.
_PACKAGES = {
    "sepclr_neuro": Reference(
        "the sepclr_neuro developers",
        0,
        f"sepclr_neuro {__version__}: contrastive analysis of grey-matter volumes with SepCLR",
        "",
    ),
    "torch": Reference(
        "Paszke A, Gross S, Massa F, et al.",
        2019,
        "PyTorch: an imperative style, high-performance deep learning library",
        "https://arxiv.org/abs/1912.01703",
        "NeurIPS",
        kind="inproceedings",
    ),
    "lightning": Reference("Falcon W", 2019, "PyTorch Lightning", "https://doi.org/10.5281/zenodo.3828935"),
    "nibabel": Reference(
        "Brett M, Markiewicz CJ, Hanke M, et al.", 0, "nibabel", "https://doi.org/10.5281/zenodo.591597"
    ),
    "numpy": Reference(
        "Harris CR, Millman KJ, van der Walt SJ, et al.",
        2020,
        "Array programming with NumPy",
        "https://doi.org/10.1038/s41586-020-2649-2",
        *("Nature", "585", "357–362", "article"),
    ),
    "scipy": Reference(
        "Virtanen P, Gommers R, Oliphant TE, et al.",
        2020,
        "SciPy 1.0: fundamental algorithms for scientific computing in Python",
        "https://doi.org/10.1038/s41592-019-0686-2",
        *("Nature Methods", "17", "261–272", "article"),
    ),
    "pandas": Reference(
        "McKinney W",
        2010,
        "Data structures for statistical computing in Python",
        "https://doi.org/10.25080/Majora-92bf1922-00a",
        *("Python in Science Conference", "", "56–61", "inproceedings"),
    ),
}
# Every run is drawn, probed and ordered by these.
_ALWAYS = (
    Reference(
        "Abraham A, Pedregosa F, Eickenberg M, et al.",
        2014,
        "Machine learning for neuroimaging with scikit-learn",
        "https://doi.org/10.3389/fninf.2014.00014",
        *("Frontiers in Neuroinformatics", "8", "14", "article"),
    ),
    Reference(
        "Pedregosa F, Varoquaux G, Gramfort A, et al.",
        2011,
        "Scikit-learn: machine learning in Python",
        "https://jmlr.org/papers/v12/pedregosa11a.html",
        *("Journal of Machine Learning Research", "12", "2825–2830", "article"),
    ),
    Reference(
        "Mölder F, Jablonski KP, Letcher B, et al.",
        2021,
        "Sustainable data analysis with Snakemake",
        "https://doi.org/10.12688/f1000research.29032.2",
        *("F1000Research", "10", "33", "article"),
    ),
    _BENJAMINI,
    _TEMPLATE,
)


def references_of(
    config: Config,
    made: Mapping[str, Trained],
    of_maps: Iterable[Reference] = (),
    *,
    compared: bool,
    mapped: bool,
    localised: bool,
) -> list[Reference]:
    """What the methods text of a run cites, each once, by authors.

    Args:
        config: of the run.
        made: the models of each method.
        of_maps: what the paragraphs about salient codes cite.
        compared: whether figures were compared by the corrected resampled t-test.
        mapped: whether there are maps of probes.
        localised: whether these were held against a known effect.
    """
    used: list[Reference] = [*_ALWAYS, *cited(made), *of_maps]
    packages = software(made) or {"sepclr_neuro": __version__}
    used += [reference for name, reference in _PACKAGES.items() if name in packages or name == "sepclr_neuro"]
    for reason, found in (
        (compared, [_NADEAU]),
        (config.site_leakage.combat, [_COMBAT]),
        (mapped and config.saliency.sanity_participants, [_SANITY]),
        (mapped, _of_attributions(config.saliency.attributions)),
        (localised, _LOCALISATION),
        (config.cohort.source != "files", _ENIGMA),
    ):
        used += found if reason else ()
    return sorted(set(used), key=lambda reference: (reference.authors.casefold(), reference.year, reference.title))


def _of_attributions(names: Iterable[str]) -> list[Reference]:
    return [reference for name in names for reference in ATTRIBUTIONS[name].references]
