"""Each sentence of the methods text is held against what the models' records say of themselves."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from sepclr_neuro.config.methods.terms import LOSSES_IN_WORDS, TERMS
from sepclr_neuro.config.model import Config
from sepclr_neuro.config.registry import METHODS as REGISTERED
from sepclr_neuro.config.saliency import Saliency
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, read_tsv, write_json, write_tsv
from sepclr_neuro.learning import training
from sepclr_neuro.learning.training import write_fold_model
from sepclr_neuro.report.map_texts import map_paragraphs, map_references
from sepclr_neuro.report.methods_text import SENTENCE_END, Paragraph, cited, method_paragraphs, software
from sepclr_neuro.report.patterns import said_of_patterns
from sepclr_neuro.report.reading import read_run
from sepclr_neuro.report.run_details import left_out
from tests.report.reported_run import METHOD, a_config, trained_in, write_run
from tests.small_run import small_run

Record = dict[str, Any]

NETWORKS: dict[str, dict[str, Any]] = {
    "linear": {"name": "linear", "patch": 4, "dropout": 0.25},
    "light": {"name": "light", "channels": [8, 16], "patch": 8},
    "strided": {"name": "strided", "normalisation": "group", "pooling": "mean"},
    "resnet18": {"name": "resnet18"},
    "densenet121": {"name": "densenet121"},
}
SEPCLR = {"common_dim": 4, "salient_dim": 3, "projector_width": 8}
METHODS: dict[str, dict[str, Any]] = {
    "sepclr-k-jem": SEPCLR,
    "sepclr-no-k-jem": SEPCLR,
    "tight": {"method": "sepclr-tc", "temperature": 0.25, "estimator_steps": 1, "training": {"epochs": 2}, **SEPCLR},
    "convae": {"common_dim": 4, "salient_dim": 3},
    "supervised": {"dim": 5},
    "pca": {"dim": 3},
    "few": {"method": "pca", "dim": 2},
    "voxel-linear": {},
}
TITLES = {name: REGISTERED[name].title if name in REGISTERED else name for name in METHODS}


# --- what each sentence claims -----------------------------------------------------------------------------------


class Fact(NamedTuple):
    """A sentence with what it claims: named groups are keys of the record (``training__epochs`` of a section), and the
    method's own settings where they name no section."""

    pattern: str
    holds: Callable[[Record], bool] = lambda record: True


def own(record: Record) -> Record:
    settings: Record = record["settings"]["methods"][record["method"]]
    return settings


def section(record: Record, name: str) -> Record:
    found: Record = record["settings"][name]
    return found


def built(*kinds: str) -> Callable[[Record], bool]:
    """Whether the encoders are of one of these classes."""
    return lambda record: (
        {network["class"] for name, network in record["networks"].items() if name.endswith("encoder")} <= set(kinds)
    )


def has(*networks: str) -> Callable[[Record], bool]:
    return lambda record: set(record["networks"]) == set(networks)


def trained_as(record: Record) -> bool:
    given = section(record, "training")
    return given["weight_decay"] == 0.01 and given["schedule"] == "constant" and record["precision"] == "32-true"


def changed(record: Record) -> bool:
    return any(value for key, value in section(record, "augmentation").items() if key.endswith("_probability"))


def told(key: str) -> str:
    """The pattern of a number that is to be that of a key."""
    return rf"(?P<{key}>[-+.\de]*\d)"


TWO_SPACES = rf"giving a common representation of {told('common_dim')} and a salient one of {told('salient_dim')} "
SUBJECT = r"(?:Each encoder|The encoder) was "
MONAI = r" \(MONAI; Cardoso et al\., 2022; batch normalisation\)\."
PAIRS = [f"{space}_{part}" for space in ("common", "salient") for part in ("encoder", "projector")]
FACTS = [
    Fact(
        rf"SepCLR \(Louiset et al\., 2024\) was trained with two separate encoders, {TWO_SPACES}dimensions, "
        rf"each followed by a projector with {told('projector_width')} hidden units\.",
        lambda record: set(PAIRS) <= set(record["networks"]),
    ),
    Fact(
        rf"The temperature was {told('temperature')}, the weights: uniformity {told('uniformity_weight')}, salient "
        rf"terms {told('salient_weight')}, information-less term {told('informationless_weight')}\.",
        lambda record: {"common_uniformity", "salient_uniformity", "informationless"} <= set(record["losses"]),
    ),
    Fact(
        r"The term between the spaces was kernel joint entropy \(k-JEM\), its weight "
        rf"{told('independence_weight')}, by kernels as wide as the temperature, participants counted as their own "
        r"neighbours\.",
        lambda record: record["registered_method"] == "sepclr-k-jem" and "independence" in record["losses"],
    ),
    Fact(
        rf"The term between the spaces was total correlation \(TC\), its weight {told('independence_weight')}\.",
        lambda record: record["registered_method"] == "sepclr-tc" and "independence" in record["losses"],
    ),
    Fact(
        rf"The term's estimator \({told('estimator_width')} hidden units\) took (?P<estimator_steps>1) step a batch by "
        rf"an Adam of its own, learning rate {told('estimator_learning_rate')}, before the encoders took theirs\.",
        has(*PAIRS, "independence"),
    ),
    Fact(r"There was no term between the spaces\.", lambda record: "independence" not in record["losses"]),
    Fact(
        r"What the salient codes predict of the common space \(least squares in the training participants' adjusted "
        r"volumes\) was removed from it \(Belrose et al\., 2023\); it is a function of the volume alone\.",
        lambda record: own(record)["erase"],
    ),
    Fact(
        r"The salient space was computed from volumes adjusted within groups for age, sex and site\.",
        lambda record: [column["column"] for column in record["covariates"]["columns"]] == ["age", "sex", "site"],
    ),
    Fact(
        r"The authors published no 3D code of their experiment on brain volumes: encoders, augmentation and settings "
        r"for volumes are choices of this implementation\.",
        lambda record: record["registered_method"].startswith("sepclr"),
    ),
    Fact(
        rf"conVAE \(Aglinskas et al\., 2022\) was trained with two encoders, {TWO_SPACES}dimensions, and one decoder, "
        r"which is given zeros for controls' salient part\.",
        has("common_encoder", "salient_encoder", "decoder", "discriminator"),
    ),
    Fact(
        rf"The loss sums, over voxels, dimensions and participants, the squared error of reconstruction and, by "
        rf"weight: both divergences {told('beta')}, total correlation {told('kappa')}, estimated by a discriminator "
        rf"with {told('estimator_width')} hidden units that took (?P<estimator_steps>1) step a batch, learning rate "
        rf"{told('estimator_learning_rate')}\.",
        lambda record: "total_correlation" in record["losses"],
    ),
    Fact(
        r"Networks for volumes are choices of this implementation, since the authors published none\.",
        lambda record: "decoder" in record["networks"],
    ),
    Fact(
        rf"A supervised network, one encoder giving {told('dim')} dimensions and a linear classifier on them, was "
        r"trained by the cross-entropy of patients against controls\.",
        has("encoder", "classifier"),
    ),
    Fact(rf"The first {told('dim')} principal components of the training participants' voxels\.", has()),
    Fact(
        r"The voxel-wise linear model: all principal component scores .* is the probe on the voxels themselves\.", has()
    ),
    Fact(r"Terms of the loss: (?P<losses>.*)\."),
    Fact(
        rf"{SUBJECT}a linear map of the means of cubes of (?P<network__patch>\d) voxels a side, 25 % of which each "
        r"training step left out\.",
        lambda record: built("LinearEncoder")(record) and section(record, "network")["dropout"] == 0.25,
    ),
    Fact(
        rf"{SUBJECT}a light 3D convolutional network \(a stem that cuts cubes of (?P<network__patch>\d) voxels a side, "
        r"then 1 convolution of stride 2; 8 and 16 channels, normalised in 8 groups\), whose last grid was flattened\.",
        lambda record: built("LightEncoder")(record) and section(record, "network")["channels"] == [8, 16],
    ),
    Fact(
        rf"{SUBJECT}five 3D convolutions of stride 2 \(32, 64, 128, 256 and 512 channels, normalised in 8 groups of "
        r"channels\), whose last grid was averaged\.",
        lambda record: built("StridedEncoder")(record) and section(record, "network")["normalisation"] == "group",
    ),
    Fact(rf"{SUBJECT}a 3D ResNet-18{MONAI}", built("ResNet")),
    Fact(rf"{SUBJECT}a 3D DenseNet-121{MONAI}", built("DenseNet121")),
    Fact(
        r"The decoder mirrored the encoder\.",
        lambda record: (
            record["networks"]["decoder"]["class"] in ("Decoder", "LinearDecoder")
            and built("LinearEncoder", "LightEncoder", "StridedEncoder")(record)
        ),
    ),
    Fact(
        r"The decoder had five transposed convolutions of stride 2, from 32, 64, 128, 256 and 512 channels back\.",
        lambda record: record["networks"]["decoder"]["class"] == "Decoder" and built("ResNet", "DenseNet121")(record),
    ),
    Fact(
        rf"Adam, learning rate {told('training__learning_rate')} \(constant\), weight decay 0.01, batches of "
        rf"{told('record__batch_size')} participants \({told('training__batch_size')} were requested; a batch has at "
        rf"most twice the smaller training group\), half from each group, {told('record__epochs')} epochs?, in "
        r"float32\.",
        lambda record: trained_as(record) and record["batch_size"] < section(record, "training")["batch_size"],
    ),
    Fact(r"One view of each volume, as it is\.", lambda record: record["views"] == 1 and not changed(record)),
    Fact(
        r"Two views of each volume, each change with its probability: "
        rf"crop to 0.75–1 of the side \({told('augmentation__crop_probability')}\), rotation up to "
        rf"{told('augmentation__rotation_degrees')}° and shift up to {told('augmentation__translation_share')} of "
        rf"the side \({told('augmentation__affine_probability')}\), Gaussian blur of 0.1–1 voxels "
        rf"\({told('augmentation__blur_probability')}\), Gaussian noise up to {told('augmentation__noise_sd')} SD "
        rf"\({told('augmentation__noise_probability')}\), cutout of 0.1–0.3 of the side "
        rf"\({told('augmentation__cutout_probability')}\)\.",
        lambda record: record["views"] == 2 and section(record, "augmentation")["flip_probability"] == 0,
    ),
]


def hold_against(record: Record, sentence: str) -> None:
    """Fails where a sentence says anything that the record does not, or that no fact above looks at."""
    found = [(fact, said) for fact in FACTS if (said := re.fullmatch(fact.pattern, sentence))]
    assert len(found) == 1, f"no test, or several, of: {sentence}"
    fact, said = found[0]
    assert fact.holds(record), f"not true of {record['method']}: {sentence}"
    for key, value in said.groupdict().items():
        part, _, name = key.rpartition("__")
        if key == "losses":
            terms = [LOSSES_IN_WORDS.get(term, term.replace("_", " ")) for term in record["losses"]]
            assert value.replace(" and ", ", ").split(", ") == terms
            continue
        recorded = (record if part == "record" else section(record, part))[name] if part else own(record)[name]
        assert float(value) == pytest.approx(recorded), f"{key} of {record['method']}: {sentence}"
    assert not re.search(r"\b1 (epochs|steps|people|convolutions)\b|\b([2-9]|\d\d+) (epoch|step|person)\b", sentence)
    assert sentence.startswith("Each encoder") == ("common_encoder" in record["networks"] and "encoder was" in sentence)


# --- models that say how they were made --------------------------------------------------------------------------


def recorded(folder: Path, methods: dict[str, Any], folds: int = 1, **sections: Any) -> tuple[Config, Results]:
    """Models of methods, as training writes and describes them."""
    config, results = small_run(folder, methods=methods, **sections)
    for method in methods:
        for fold in range(folds):
            write_fold_model(config, results, method, fold)
    return config, results


def text_of(config: Config, results: Results) -> list[Paragraph]:
    return method_paragraphs(trained_in(config, results))


def titles_in(text: str) -> set[str]:
    """The methods of a list of names; empty where it names anything else."""
    listed = set(text.split("; ")) if "; " in text or text in TITLES.values() else set(re.split(", | and ", text))
    return listed if listed <= set(TITLES.values()) else set()


def said_of(title: str, paragraphs: list[Paragraph]) -> dict[str, list[str]]:
    """The sentences that are true of a method, by the title of their paragraph; its own paragraph is `itself`."""
    found: dict[str, list[str]] = {}
    for paragraph in paragraphs:
        described = titles_in(paragraph.title)
        for sentence in paragraph.sentences:
            names, _, rest = sentence.partition(": ")
            whose, said = (titles_in(names), rest) if titles_in(names) else (described, sentence)
            if title in whose or not whose:
                found.setdefault("itself" if described else paragraph.title, []).append(said)
    return found


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are built and recorded, as training does it, but not trained: large networks take minutes."""

    def fit(method: Any, *_: Any, **__: Any) -> Any:
        row = {"epoch": 1, "loss": 1.0, "seconds": 0.0}
        how = {"precision": "32-true", "device": "cpu"}
        views = getattr(method, "views", None)  # a closed form has none
        return [row], how if views is None else how | {"batch_size": 4, "views": views}

    monkeypatch.setattr(training, "fit", fit)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Results]:
    """Every kind of method, trained for an epoch or two; 64 people a batch are asked for, eight are to be had."""
    asked = {"epochs": 1, "batch_size": 64, "learning_rate": 5e-4, "weight_decay": 0.01, "precision": "float32"}
    return recorded(tmp_path_factory.mktemp("recorded"), METHODS, training=asked)


# --- the text ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_each_sentence_is_what_the_record_holds(run: tuple[Config, Results], method: str) -> None:
    config, results = run
    record = read_json(results.model_folder(method, 0) / "model.json")
    history = read_tsv(results.model_folder(method, 0) / "history.tsv")
    assert record["epochs"] == len(history), "the record itself is right"
    assert record["losses"] == [name for name in history if name not in ("epoch", "loss", "seconds")]
    said = said_of(TITLES[method], text_of(config, results))
    for sentences in said.values():
        for sentence in sentences:
            hold_against(record, sentence)
    if "batch_size" in record:
        two_spaces = {"Spaces"} if "erase" in own(record) else set()
        assert set(said) == {"itself", "Networks", "Training", "Views"} | two_spaces
        assert (record["batch_size"], len(said["Training"]), len(said["Views"])) == (8, 1, 1)
        assert ("decoder" in " ".join(said["Networks"])) == ("decoder" in record["networks"])
        assert ("Terms of the loss" in " ".join(said["itself"])) == bool(record["losses"])
    else:
        assert set(said) == {"itself"}
        assert not re.search("batch|epoch|view|encoder|Adam|loss", " ".join(said["itself"]))


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("network", NETWORKS)
def test_the_network_named_is_the_one_that_was_built(tmp_path: Path, network: str) -> None:
    names = ("sepclr-k-jem", "convae", "supervised", "pca")
    asked = {"batch_size": 16, "weight_decay": 0.01, "epochs": 1}
    config, results = recorded(
        tmp_path, {name: METHODS[name] for name in names}, network=NETWORKS[network], training=asked
    )
    made, paragraphs = trained_in(config, results), text_of(config, results)
    for name in names:
        record, said = read_json(results.model_folder(name, 0) / "model.json"), said_of(TITLES[name], paragraphs)
        for sentence in said.get("Networks", []):
            hold_against(record, sentence)
        assert bool(said.get("Networks")) == bool(record["networks"])
    monai = network in ("resnet18", "densenet121")
    assert any("MONAI" in reference.text for reference in cited(made)) == ("monai" in software(made)) == monai


def test_what_is_true_of_several_methods_is_said_once(run: tuple[Config, Results]) -> None:
    paragraphs = {paragraph.title: paragraph.sentences for paragraph in text_of(*run)}
    every = [sentence for sentences in paragraphs.values() for sentence in sentences]
    assert len(every) == len(set(every))
    assert sum("two separate encoders" in sentence for sentence in every) == 1
    alike = "SepCLR, k-JEM; SepCLR, no k-JEM"
    assert paragraphs[f"{alike}; tight"][0].startswith("SepCLR (Louiset et al., 2024) was trained")
    assert [sentence.partition(": ")[0] for sentence in paragraphs["Views"]] == [
        f"{alike}; tight; Supervised",
        "conVAE",
    ]
    assert [sentence.partition(": ")[0] for sentence in paragraphs["Training"]] == [
        f"{alike}; Supervised",
        "tight",
        "conVAE",
    ]
    assert list(paragraphs)[-6:] == ["few", "Voxel-wise linear", "Spaces", "Networks", "Training", "Views"]


@pytest.mark.parametrize("name", REGISTERED)
def test_descriptions_come_apart_into_whole_sentences(name: str) -> None:
    for sentence in SENTENCE_END.split(REGISTERED[name].describe(REGISTERED[name].settings())):
        assert sentence.endswith(".")
        assert sentence.count("(") == sentence.count(")")
        assert ": " not in sentence or not titles_in(sentence.partition(": ")[0])


@pytest.mark.parametrize("term", [term for term in TERMS if term != "none"])
def test_a_term_is_called_as_the_field_does(term: str) -> None:
    entry = REGISTERED[f"sepclr-{term}"]
    said = entry.describe(entry.settings())
    assert f"The term between the spaces was {TERMS[term].in_words}, its weight 10" in said
    assert not re.search(rf"\b{term}\b", said)


def test_linear_sepclr_says_what_its_common_head_is_for() -> None:
    entry = REGISTERED["sepclr-linear"]
    said = entry.describe(entry.settings(common_dim=16, independence="dcor"))
    assert "a common head of 16 dimensions serves the loss alone" in said
    assert "information-less term 10, distance correlation 10. The common space holds all principal components" in said
    assert ", distance correlation" not in entry.describe(entry.settings(independence="none"))


@pytest.mark.usefixtures("untrained")
def test_terms_and_covariates_have_no_internal_names(tmp_path: Path) -> None:
    config, results = recorded(tmp_path, {"sepclr-k-jem": {}})
    path = results.model_folder("sepclr-k-jem", 0) / "model.json"
    columns = [{"column": column} for column in ("age", "tiv")]
    known = {"losses": ["common_alignment", "informationless"], "covariates": {"columns": columns}}
    write_json(path, read_json(path) | known)
    said = " ".join(sentence for paragraph in text_of(config, results) for sentence in paragraph.sentences)
    assert "Terms of the loss: alignment of the common space and information-less term." in said
    assert "adjusted within groups for age and total intracranial volume." in said


@pytest.mark.usefixtures("untrained")
def test_effects_of_controls_alone_are_not_called_within_groups(tmp_path: Path) -> None:
    config, results = recorded(tmp_path, {"normative": {}})
    path = results.model_folder("normative", 0) / "model.json"
    write_json(path, read_json(path) | {"covariates": {"columns": [{"column": "age"}]}})
    said = " ".join(sentence for paragraph in text_of(config, results) for sentence in paragraph.sentences)
    assert "adjusted for age, by effects learned in the training controls alone." in said
    assert "within groups" not in said


UNITS = {
    "voxelwise": "(SD of grey matter)",
    "global": "(SD of grey matter over all voxels)",
    "none": "(units of grey matter)",
}


@pytest.mark.parametrize("intensity", UNITS)
def test_analyses_of_salient_codes_are_told_where_they_ran(tmp_path: Path, intensity: str) -> None:
    config = a_config(
        tmp_path,
        standardisation={"intensity": intensity},
        subtypes={"clusters": [2, 3], "nulls": 99},
        # As much as volumes that are not standardised may have.
        augmentation={"noise_sd": 0.1},
        saliency={"targets": ["diagnosis"], "noise_sd": 0.1},
    )
    results = write_run(config)
    assert map_paragraphs(read_run(config, results)) == map_references(read_run(config, results)) == []
    write_tsv(results.patterns(METHOD) / "patterns.tsv", pd.DataFrame({"map": ["mean-patient"], "p": [0.05]}))
    write_tsv(results.patterns(METHOD) / "diseases.tsv", pd.DataFrame({"disease": ["a"], "other": ["b"]}))
    write_tsv(results.subtypes(METHOD) / "subtypes.tsv", pd.DataFrame({"clusters": [2], "p": [np.nan]}))
    too_few = [paragraph.title for paragraph in map_paragraphs(read_run(config, results))]
    assert too_few == ["Patterns", "Several diseases"]
    write_tsv(results.subtypes(METHOD) / "subtypes.tsv", pd.DataFrame({"clusters": [2, 3], "p": [np.nan, 0.5]}))
    run = read_run(config, results)
    said = {paragraph.title: " ".join(paragraph.sentences) for paragraph in map_paragraphs(run)}
    assert UNITS[intensity] in said["Patterns"]
    assert "exchanged within site in 100 permutations" in said["Patterns"]
    assert "99 samples of one Gaussian" in said["Subtypes"]
    cited_in = re.findall(r"(\w+) et al\., (\d{4})", " ".join(said.values()))
    of_references = {(one.authors.split()[0], str(one.year)) for one in map_references(run)}
    assert set(cited_in) == of_references
    untested = replace(run, config=run.config.model_copy(update={"saliency": Saliency(permutations=0)}))
    assert [paragraph.sentences[-1] for paragraph in map_paragraphs(untested)][:2] == ["They were not tested."] * 2


def test_a_discriminant_is_cited() -> None:
    entry = REGISTERED["ridge-discriminant"]
    assert "(after Friedman, 1989)" in entry.describe(entry.settings())
    assert [reference.year for reference in entry.settings.references] == [1989]


def test_what_is_not_shown_is_not_called_absent() -> None:
    names = ("distance from controls", "beyond-controls", "mean-patient", "direction-1")
    table = pd.DataFrame({"map": names, "auc": 0.6, "p": 0.048, "q": 0.063, "people": 40})
    said = said_of_patterns(table, "PCA")[-1]
    assert said.startswith("Their codes are not shown to explain more than chance anywhere in the brain (p 0.048")


def test_what_was_asked_for_since_is_not_told(run: tuple[Config, Results]) -> None:
    """The records are of what was trained; a configuration that has changed since is not."""
    config, results = run
    changed_since = config.model_copy(update={"network": config.network.model_copy(update={"name": "densenet121"})})
    assert text_of(changed_since, results) == text_of(config, results)


@pytest.mark.usefixtures("untrained")
def test_folds_that_differ_are_a_span(tmp_path: Path) -> None:
    config, results = recorded(tmp_path, {"sepclr-k-jem": {}}, folds=2, training={"epochs": 9, "batch_size": 44})
    for fold, (batch, epochs) in enumerate([(42, 7), (44, 9)]):
        path = results.model_folder("sepclr-k-jem", fold) / "model.json"
        write_json(path, read_json(path) | {"batch_size": batch, "epochs": epochs})
    (said,) = text_of(config, results)[-2].sentences
    assert "batches of 42 to 44 participants (44 were requested; a batch has at most twice the smaller training" in said
    assert "7 to 9 epochs" in said
    assert "Trained for 7 to 9 epochs instead of 100 (training.epochs): SepCLR, k-JEM." in left_out(
        config, trained_in(config, results)
    )


@pytest.mark.usefixtures("untrained")
def test_folds_of_different_settings_are_a_problem(tmp_path: Path) -> None:
    config, results = recorded(tmp_path, {"pca": {"dim": 3}}, folds=2)
    problems: list[str] = []
    trained_in(config, results, problems)
    assert problems == []
    path = results.model_folder("pca", 1) / "model.json"
    record = read_json(path)
    record["settings"]["methods"]["pca"]["dim"] = 2
    write_json(path, record)
    trained_in(config, results, problems)
    assert problems == ["PCA: its folds were not all trained with the same settings; run the workflow again."]


@pytest.mark.usefixtures("untrained")
def test_early_stopping_clipping_and_parts_are_told(tmp_path: Path) -> None:
    settings = {
        "epochs": 9,
        "batch_size": 4,
        "people_in_memory": 2,
        "validation_fraction": 0.25,
        "patience": 1,
        "gradient_clip": 0.5,
    }
    config, results = recorded(tmp_path, {"supervised": {}}, training=settings)
    (said,) = text_of(config, results)[-2].sentences
    for words in (
        "of whom networks held 2 at a time (gradient caching; Gao et al., 2021)",
        "1 epoch of at most 9, stopped after 1 epoch without a lower loss of the 25 % of the training participants set "
        "apart",
        "gradient norm clipped at 0.5",
    ):
        assert words in said
    assert "requested" not in said
    assert any("RepL4NLP" in reference.text for reference in cited(trained_in(config, results)))


def test_a_method_without_a_model_is_not_described(run: tuple[Config, Results], tmp_path: Path) -> None:
    config, _ = run
    problems: list[str] = []
    assert method_paragraphs(trained_in(config, Results(tmp_path), problems)) == []
    assert "PCA, fold 0: there is no model." in problems
    assert "few, fold 1: there is no model." in problems


def test_software_is_what_models_were_made_with(run: tuple[Config, Results]) -> None:
    config, results = run
    made = trained_in(config, results)
    versions = read_json(results.model_folder("pca", 0) / "model.json")["versions"]
    assert software(made) == {name: number for name, number in versions.items() if name != "monai"}
    closed = {name: made[name] for name in ("pca", "voxel-linear")}
    assert "lightning" not in software(closed)
