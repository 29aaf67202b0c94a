"""engine/inference/predictor.py: inputs, batches, and the limits of the object."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backbone.pplcnet import PPLCNet
from classification.classifier import Classifier
from engine.checkpoint import checkpoint
from engine.data.preprocess import Preprocess
from engine.inference.predictor import BATCH, Predictor, load_model


@pytest.fixture(scope="module")
def network() -> Classifier:
    torch.manual_seed(0)
    preprocess = Preprocess(size=(32, 32))
    network = Classifier(backbone=PPLCNet(0.25), num_classes=3, data_preprocessor=preprocess)
    network.train()(torch.randn(8, 3, 32, 32))  # so that images differ after the norms
    return network


def pictures(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (40 + n, 50, 3), np.uint8) for n in range(count)]


def test_what_it_is(network: Classifier) -> None:
    predictor = Predictor(network)
    assert predictor.network is network
    assert not network.training
    assert (predictor.task.name, predictor.classes) == ("cls", ("0", "1", "2"))


@pytest.mark.parametrize("name", ["eval", "state_dict", "to", "parameters"])
def test_members_of_a_module_are_the_networks(network: Classifier, name: str) -> None:
    message = rf"a Predictor has no '{name}'; the torch module is its \.network: \.network\.{name}"
    with pytest.raises(AttributeError, match=message):
        getattr(Predictor(network), name)
    with pytest.raises(AttributeError, match=r"no 'scores'; it has \.predict, \.classes, \.net"):
        _ = Predictor(network).scores


def test_images_go_through_in_batches_and_get_what_they_get_alone(network: Classifier) -> None:
    sizes: list[int] = []
    handle = network.backbone.register_forward_pre_hook(lambda _, x: sizes.append(len(x[0])))
    predictor, images = Predictor(network), pictures(BATCH + 3)
    try:
        together = predictor.predict(images)
    finally:
        handle.remove()
    assert sizes == [BATCH, 3]
    for one, image in zip(together, images, strict=True):
        (alone,) = predictor.predict(image)
        torch.testing.assert_close(one["scores"], alone["scores"], rtol=1e-4, atol=1e-6)
        assert float(one["scores"].sum()) == pytest.approx(1)


def test_images_of_any_size_go_alone(network: Classifier) -> None:
    free = Classifier(
        backbone=PPLCNet(0.25), num_classes=3, data_preprocessor=Preprocess(size=None)
    )
    sizes: list[int] = []
    free.backbone.register_forward_pre_hook(lambda _, x: sizes.append(len(x[0])))
    predictor = Predictor(free)
    assert not predictor.batched
    assert len(predictor.predict(pictures(3))) == 3
    assert sizes == [1, 1, 1]


@pytest.mark.parametrize(("size", "count"), [((416, 416), 16), ((512, 1024), 5), ((4000, 4000), 1)])
def test_large_inputs_go_through_in_smaller_batches(size: tuple[int, int], count: int) -> None:
    preprocess = Preprocess(size=size)
    network = Classifier(backbone=PPLCNet(0.25), num_classes=3, data_preprocessor=preprocess)
    assert Predictor(network)._batch_size() == count


def test_nothing_in_nothing_out(network: Classifier) -> None:
    assert Predictor(network).predict([]) == []


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (3, ValueError, "int is not an image; give RGB uint8 arrays or paths"),
        (np.zeros((4, 4)), ValueError, r"image is float64 of shape \(4, 4\); expected RGB uint8"),
        (np.zeros((4, 4, 4), np.uint8), ValueError, "expected RGB uint8"),
        (Path("none.jpg"), FileNotFoundError, "none.jpg: no such image file"),
    ],
)
def test_other_things(network: Classifier, image: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        Predictor(network).predict([image])


def test_threads_may_share_it(network: Classifier) -> None:
    predictor, images = Predictor(network), pictures(6)
    wanted = [predictor.predict(image)[0]["scores"] for image in images]
    found: dict[int, torch.Tensor] = {}

    def work(number: int) -> None:
        for _ in range(3):
            found[number] = predictor.predict(images[number])[0]["scores"]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[number], scores) for number, scores in enumerate(wanted))


def test_a_network_without_a_task_is_refused() -> None:
    with pytest.raises(ValueError, match="its package has no module 'task'"):
        Predictor(torch.nn.Linear(1, 1))


def test_a_checkpoint_of_another_task_is_refused(network: Classifier, tmp_path: Path) -> None:
    """Also where both tasks are imported."""
    plain = {"type": "Classifier", "backbone": {"type": "PPLCNet", "scale": 0.25}, "num_classes": 3}
    content = checkpoint.describe(network, plain, "abc", {})
    checkpoint.save(tmp_path / "classifier.pth", content)
    with pytest.raises(
        ValueError, match=r"is a checkpoint of a classifier, .* of a detector; give"
    ):
        load_model("picodet_lcnet_own", tmp_path / "classifier.pth")
