"""The volumes that programs of the field write, by the names of their files: one line a kind."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["LAYOUTS", "UNKNOWN", "Layout", "layout_of"]

_END = r"\.(nii|nii\.gz)$"


@dataclass(frozen=True)
class Layout:
    """One kind of volume.

    Attributes:
        name: what the volumes are, in words.
        expression: finds it in a file's name, whatever the case.
        usable: whether the workflow can read them as grey matter.
        remark: what to know before using them, or what to do instead.
    """

    name: str
    expression: str
    usable: bool = True
    remark: str = ""


_OTHER_TISSUE = "the workflow reads grey matter"
_NATIVE = "they have no common space; write the ones that are normalised to MNI space (CAT12: mwp1)"

# In the order of preference; the first whose expression is found counts.
LAYOUTS = (
    Layout("modulated grey matter of T1Prep (BIDS names)", rf"modulated.*label-GM.*probseg{_END}"),
    Layout("modulated grey matter of T1Prep (BIDS names)", rf"label-GM.*modulated.*probseg{_END}"),
    Layout("modulated grey matter (mwp1: CAT12, T1Prep, deepmriprep)", rf"(^mwp1.*|_mwp1){_END}"),
    Layout("modulated grey matter (mwc1: SPM)", rf"(^mwc1.*|_mwc1){_END}"),
    Layout(
        "modulated grey matter of CAT12 as arrays (OpenBHB)",
        r"cat12vbm_desc-gm_T1w\.npy$",
        remark="a .npy file has no affine: arrays are read if they are on CAT12's 1.5 mm grid, and taken to be in the "
        "order in which CAT12 writes voxels; check one by eye",
    ),
    Layout("grey matter, modulated for the non-linear part alone (m0wp1)", rf"(^m0w[pc]1.*|_m0w[pc]1){_END}"),
    Layout(
        "smoothed modulated grey matter",
        rf"(^s\d*m0?w[pc]1.*|_s\d*m0?w[pc]1){_END}",
        remark="already smoothed; unsmoothed maps are better where you have them",
    ),
    Layout(
        "probability of grey matter in MNI space (fMRIPrep, sMRIPrep)",
        rf"space-MNI152.*label-GM.*probseg{_END}",
        remark="not modulated: how large a region is in a participant is lost, which VBM measures. CAT12, T1Prep and "
        "deepmriprep write modulated maps (mwp1)",
    ),
    Layout(
        "grey matter in MNI space that is not modulated (wp1)",
        rf"(^w[pc]1.*|_w[pc]1){_END}",
        remark="not modulated: how large a region is in a participant is lost, which VBM measures; mwp1 keeps it",
    ),
    Layout("white matter or cerebrospinal fluid", r"(^|_)s?\d*(m0?)?w?[pc][2-6]", False, _OTHER_TISSUE),
    Layout("other tissues, masks and labels", r"label-(?!GM)[A-Z]|_(mask|dseg|aseg|seg)\.", False, _OTHER_TISSUE),
    Layout("grey matter in each participant's own space", r"(^|_)r?[pc]1|label-GM", False, _NATIVE),
    Layout("whole T1 images in MNI space", r"^wm|space-MNI152.*T[12]w\.", False, "segment them first (CAT12: mwp1)"),
    Layout(
        "raw images",
        rf"_(T1w|T2w|T2star|FLAIR|PD|inplaneT[12]|MP2RAGE|UNIT1|bold|sbref|dwi|epi|phasediff|magnitude\d?|asl){_END}",
        False,
        "segment the T1 images and normalise grey matter to MNI space first (CAT12, T1Prep or deepmriprep: mwp1)",
    ),
    Layout("whole images as arrays (OpenBHB's quasi-raw)", r"quasiraw.*\.npy$", False, "take the cat12vbm arrays"),
    Layout(
        "arrays",
        r"\.npy$",
        False,
        "the workflow reads volumes, one a participant. An array of one brain on CAT12's 1.5 mm grid is read if "
        "`volumes` names it; write others, and each row of an array of many brains, as NIfTI with their affine "
        "(nibabel.Nifti1Image(array, affine))",
    ),
)

UNKNOWN = Layout(
    "volumes",
    "",
    remark="their names do not say what they are; the workflow needs grey matter in MNI space, about 0 to 1 a voxel",
)


def layout_of(path: str) -> Layout:
    """The kind of a volume, by the name of its file.

    >>> layout_of("mri/mwp1sub-01_T1w.nii").name, layout_of("anat/sub-01_T1w.nii.gz").usable
    ('modulated grey matter (mwp1: CAT12, T1Prep, deepmriprep)', False)
    """
    name = path.rpartition("/")[2]
    return next((layout for layout in LAYOUTS if re.search(layout.expression, name, re.IGNORECASE)), UNKNOWN)
