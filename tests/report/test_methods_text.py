"""Each sentence of the methods text is held against what the models' records say of themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sepclr_neuro.config.model import Config
from sepclr_neuro.core.layout import Results
from sepclr_neuro.core.storage import read_json, read_tsv, write_json
from sepclr_neuro.learning import training
from sepclr_neuro.learning.training import train_fold
from sepclr_neuro.report.methods_text import Paragraph, cited, method_paragraphs
from sepclr_neuro.report.ran import left_out
from sepclr_neuro.report.records import read_records
from tests.small_run import small_run

NETWORKS: dict[str, dict[str, Any]] = {
    "linear": {"name": "linear", "patch": 4, "dropout": 0.25},
    "light": {"name": "light", "channels": [8, 16], "patch": 8},
    "strided": {"name": "strided", "normalisation": "group"},
    "resnet18": {"name": "resnet18"},
    "densenet121": {"name": "densenet121"},
}
# Words that are true of one class of network and of no other, by the class that a record names.
ENCODERS = {
    "LinearEncoder": ["linear map of the means of cubes of 4 voxels a side, 25 % of which each training step left out"],
    "LightEncoder": [
        "light 3D convolutional",
        "cubes of 8 voxels a side",
        "1 convolution of stride 2; 8 and 16 channels",
    ],
    "StridedEncoder": ["five 3D convolutions of stride 2", "512 channels, normalised in 8 groups of channels"],
    "ResNet": ["3D ResNet-18 (MONAI", "batch normalisation"],
    "DenseNet121": ["3D DenseNet-121 (MONAI", "batch normalisation"],
}
METHODS: dict[str, dict[str, Any]] = {
    "sepclr-k-jem": {"common_dim": 4, "salient_dim": 3, "projector_width": 8},
    "convae": {"common_dim": 4, "salient_dim": 3},
    "supervised": {"dim": 4},
    "pca": {"dim": 3},
    "voxel-linear": {},
}


def recorded(folder: Path, methods: dict[str, Any], folds: int = 1, **sections: Any) -> tuple[Config, Results]:
    """Models of methods, as training writes and describes them."""
    config, results = small_run(folder, methods=methods, **sections)
    for method in methods:
        for fold in range(folds):
            train_fold(config, results, method, fold)
    return config, results


def text_of(config: Config, results: Results) -> dict[str, Paragraph]:
    return {paragraph.title: paragraph for paragraph in method_paragraphs(read_records(config, results, []))}


def true_of(title: str, paragraph: Paragraph | None) -> str:
    """The sentence of a paragraph that is said of a method; empty where none is."""
    for sentence in paragraph.sentences if paragraph else []:
        names, _, said = sentence.partition(": ")
        if title in names.split("; ") or title in re.split(", | and ", names):
            return said
    return ""


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are built and recorded, as training does it, but not trained: large networks take minutes."""

    def fit(method: Any, *_: Any, **__: Any) -> Any:
        row = {"epoch": 1, "loss": 1.0, "seconds": 0.0}
        return [row], {"precision": "32-true", "device": "cpu", "batch_size": 4, "views": method.views}

    monkeypatch.setattr(training, "fit", fit)


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("network", NETWORKS)
def test_the_network_named_is_the_one_that_was_built(tmp_path: Path, network: str) -> None:
    methods = {name: METHODS[name] for name in ("sepclr-k-jem", "convae")}
    config, results = recorded(tmp_path, methods, network=NETWORKS[network])
    made = read_records(config, results, [])
    for name, title in (("sepclr-k-jem", "SepCLR, k-JEM"), ("convae", "conVAE")):
        said = true_of(title, text_of(config, results)["Networks"]) or text_of(config, results)["Networks"].sentences[0]
        record = read_json(results.model_folder(name, 0) / "model.json")
        for kind, words in ENCODERS.items():
            for word in words[:1] if kind != record["networks"]["common_encoder"]["class"] else []:
                assert word.split(" of ")[0] not in said
            if kind == record["networks"]["common_encoder"]["class"]:
                assert all(word in said for word in words)
        assert said.startswith("Each encoder was"), "there are two"
        decoder = record["networks"].get("decoder", {"class": None})["class"]
        mirrors = {"LinearEncoder": "LinearDecoder", "LightEncoder": "Decoder", "StridedEncoder": "Decoder"}
        is_mirror = mirrors.get(record["networks"]["common_encoder"]["class"]) == decoder
        assert ("decoder mirrored" in said, "decoder had five" in said) == (
            bool(decoder and is_mirror),
            bool(decoder and not is_mirror),
        )
    monai = network in ("resnet18", "densenet121")
    assert any("MONAI" in reference.text for reference in cited(made)) == monai


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Results]:
    """Every kind of method, trained for one epoch; 64 people a batch are asked for, eight are to be had."""
    training_settings = {"epochs": 1, "batch_size": 64, "learning_rate": 5e-4, "weight_decay": 0.01}
    own = {"supervised": METHODS["supervised"] | {"training": {"epochs": 2}}}
    return recorded(tmp_path_factory.mktemp("recorded"), METHODS | own, training=training_settings)


TITLES = {
    "sepclr-k-jem": "SepCLR, k-JEM",
    "convae": "conVAE",
    "supervised": "Supervised",
    "pca": "PCA",
    "voxel-linear": "Voxel-wise linear",
}


@pytest.mark.parametrize("method", METHODS)
def test_each_sentence_is_what_the_record_holds(run: tuple[Config, Results], method: str) -> None:
    config, results = run
    record = read_json(results.model_folder(method, 0) / "model.json")
    history = read_tsv(results.model_folder(method, 0) / "history.tsv")
    paragraphs, title = text_of(config, results), TITLES[method]
    described = " ".join(paragraphs[title].sentences)
    sizes = record["settings"]["methods"][method]
    for key in ("common_dim", "salient_dim", "dim", "projector_width", "estimator_width"):
        if key in sizes:
            assert re.search(rf"\b{sizes[key]}\b", described), key
    terms = [name for name in history.columns if name not in ("epoch", "loss", "seconds")]
    assert record["losses"] == terms
    assert all(term.replace("_", " ") in described for term in terms)
    shared = [true_of(title, paragraphs[name]) for name in ("Networks", "Training", "Views")]
    if not record["networks"]:
        assert shared == ["", "", ""]
        assert "closed form: it has no network, epochs or random views" in described
        return
    assert "closed form" not in described
    network, trained, views = shared
    several = sum(name.endswith("encoder") for name in record["networks"]) > 1
    assert network.startswith("Each encoder was a light" if several else "The encoder was a light")
    assert ("decoder" in network) == ("decoder" in record["networks"])
    assert record["batch_size"] == 8
    assert "batches of 8 people (twice the smaller training group; 64 were asked for), half of each group" in trained
    assert f", {record['epochs']} {'epoch' if record['epochs'] == 1 else 'epochs'}, " in trained
    assert record["epochs"] == len(history)
    settings = record["settings"]["training"]
    learning_rate = settings["learning_rate"]
    assert f"learning rate {learning_rate:g} (constant), weight decay {settings['weight_decay']:g}," in trained
    assert ("bfloat16" in trained) == (record["precision"] == "bf16-mixed")
    assert views.startswith({1: "One view", 2: "Two views"}[record["views"]])
    change = record["settings"]["augmentation"]
    words = {"crop": "crop_", "rotation": "affine_", "blur": "blur_", "noise": "noise_", "cutout": "cutout_"}
    for word, key in words.items():
        assert (word in views) == (change[f"{key}probability"] > 0)
    assert ("as it is" in views) == (max(change[f"{key}probability"] for key in words.values()) == 0)


def test_methods_share_what_is_true_of_both(run: tuple[Config, Results]) -> None:
    config, results = run
    paragraphs = text_of(config, results)
    assert [sentence.partition(": ")[0] for sentence in paragraphs["Views"].sentences] == [
        "SepCLR, k-JEM; Supervised",
        "conVAE",
    ]
    every = [sentence for paragraph in paragraphs.values() for sentence in paragraph.sentences]
    assert len(every) == len(set(every))


def test_what_was_asked_for_since_is_not_told(run: tuple[Config, Results]) -> None:
    """The records are of what was trained; a configuration that has changed since is not."""
    config, results = run
    changed = config.model_copy(update={"network": config.network.model_copy(update={"name": "densenet121"})})
    assert "DenseNet" not in str(text_of(changed, results))


@pytest.mark.usefixtures("untrained")
def test_folds_that_differ_are_a_span(tmp_path: Path) -> None:
    config, results = recorded(tmp_path, {"sepclr-k-jem": {}}, folds=2, training={"epochs": 9, "batch_size": 44})
    for fold, (batch, epochs) in enumerate([(42, 7), (44, 9)]):
        path = results.model_folder("sepclr-k-jem", fold) / "model.json"
        write_json(path, read_json(path) | {"batch_size": batch, "epochs": epochs})
    (said,) = text_of(config, results)["Training"].sentences
    assert "batches of 42 to 44 people (twice the smaller training group; 44 were asked for)" in said
    assert "7 to 9 epochs" in said
    assert "Trained for 7 to 9 epochs instead of 100 (training.epochs): SepCLR, k-JEM." in left_out(
        config, read_records(config, results, [])
    )


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
    (said,) = text_of(config, results)["Training"].sentences
    for words in (
        "of whom networks held 2 at a time (gradient caching; Gao et al., 2021)",
        "1 epoch of at most 9, stopped after 1 epoch without a lower loss of the 25 % of the training people set apart",
        "gradient norm clipped at 0.5",
    ):
        assert words in said
    assert any("RepL4NLP" in reference.text for reference in cited(read_records(config, results, [])))


def test_a_method_without_a_model_is_not_described(run: tuple[Config, Results], tmp_path: Path) -> None:
    config, results = run
    problems: list[str] = []
    elsewhere = Results(tmp_path)
    assert method_paragraphs(read_records(config, elsewhere, problems)) == []
    assert "PCA, fold 0: there is no model." in problems
