"""Training against torch: autograd for the gradients, its Adam for the steps, a plain loop for the layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ilion.adapt import LinearOptions, make_labels, train_linear
from ilion.adapt.classifier import Adam, Array, Classifier, Loss
from ilion.adapt.estimate import class_precisions
from ilion.adapt.training import start_classifier
from ilion.types import Float32, Int64

pytestmark = pytest.mark.extras


def parameters(classes: int = 30) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {
        "weight": rng.standard_normal((8, 12)),
        "bias": rng.standard_normal(8),
        "classes": rng.standard_normal((classes, 8)),
    }


def model_of(arrays: dict[str, Array], loss: Loss, adam: Adam) -> Classifier:
    return Classifier(arrays["weight"], arrays["bias"], arrays["classes"], loss, adam)


def torch_loss(torch: Any, tensors: dict[str, Any], x: Any, y: Any, loss: Loss) -> Any:
    """The recipe in torch's own words."""
    functional = torch.nn.functional
    adapted = functional.normalize(functional.linear(x, tensors["weight"], tensors["bias"]))
    cosines = adapted @ functional.normalize(tensors["classes"]).t()
    right = cosines.gather(1, y[:, None])
    angular = loss.kind == "arcface"
    moved = torch.cos(torch.acos(right) + loss.margin) if angular else right - loss.margin
    return functional.cross_entropy(loss.scale * cosines.scatter(1, y[:, None], moved), y)


@pytest.mark.parametrize("loss", [Loss(), Loss(16, 0.2), Loss(30, 0.1, "arcface")])
def test_loss_and_gradients_are_autograds(loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr("ilion.adapt.classifier.BLOCK_VALUES", 100)
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((16, 12)), rng.integers(0, 30, 16)
    ours = parameters()
    found, gradients = model_of(ours, loss, Adam()).gradients(x, y)
    tensors = {name: torch.tensor(p, requires_grad=True) for name, p in ours.items()}
    expected = torch_loss(torch, tensors, torch.tensor(x), torch.tensor(y), loss)
    expected.backward()
    assert found == pytest.approx(expected.item(), abs=1e-9)
    for name, tensor in tensors.items():
        np.testing.assert_allclose(gradients[name], tensor.grad.numpy(), atol=1e-6)


def test_steps_are_those_of_torchs_adam() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    ours = parameters()
    tensors = {name: torch.tensor(p.copy(), requires_grad=True) for name, p in ours.items()}
    model = model_of(ours, Loss(), Adam(0.01, 1e-3))
    optimiser = torch.optim.Adam(tensors.values(), lr=0.01, weight_decay=1e-3)
    for _ in range(20):
        x, y = rng.standard_normal((16, 12)), rng.integers(0, 30, 16)
        expected = torch_loss(torch, tensors, torch.tensor(x), torch.tensor(y), Loss())
        optimiser.zero_grad()
        expected.backward()
        optimiser.step()
        assert model.step(x, y) == pytest.approx(expected.item(), abs=1e-8)
    for name, tensor in tensors.items():
        np.testing.assert_allclose(ours[name], tensor.detach().numpy(), atol=1e-6)


def photos(seed: int) -> tuple[Float32, Int64]:
    """Classes that differ in few dimensions; the directions are the same for every seed."""
    rng = np.random.default_rng(seed)
    of = rng.permutation(np.arange(1200) % 60)
    values = 0.3 * rng.standard_normal((1200, 48)) * np.where(np.arange(48) < 8, 0.3, 1.0)
    values[:, :8] += 0.5 * rng.standard_normal((60, 8))[of]
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32), of


def test_the_trained_layer_is_as_good_as_that_of_torchs_plain_loop() -> None:
    """Judged on classes that neither saw; over seeds both differ by less than their own spread."""
    torch = pytest.importorskip("torch")
    values, of = photos(0)
    unseen, classes = photos(1)
    labels = make_labels([str(i) for i in range(len(of))], [str(c) for c in of])
    ours, theirs = [], []
    for seed in range(4):
        options = LinearOptions(dim=16, epochs=15, seed=seed, learning_rate=1e-2)
        trained = train_linear(values, labels, options)
        ours.append(class_precisions(trained.layer.apply(unseen), classes).mean())
        start = start_classifier(48, 60, LinearOptions(dim=16, seed=seed + 100))
        tensors = {n: torch.tensor(p.copy(), requires_grad=True) for n, p in start.parameters.items()}
        optimiser = torch.optim.Adam(tensors.values(), lr=1e-2, weight_decay=1e-6)
        data = torch.utils.data.TensorDataset(torch.tensor(values), torch.tensor(labels.classes))
        generator = torch.Generator().manual_seed(seed)
        for _ in range(15):
            for x, y in torch.utils.data.DataLoader(data, 128, shuffle=True, generator=generator):
                optimiser.zero_grad()
                torch_loss(torch, tensors, x, y, Loss()).backward()
                optimiser.step()
        adapted = unseen @ tensors["weight"].detach().numpy().T + tensors["bias"].detach().numpy()
        adapted /= np.linalg.norm(adapted, axis=1, keepdims=True)
        theirs.append(class_precisions(adapted, classes).mean())
    plain = class_precisions(unseen, classes).mean()
    assert min(np.mean(ours), np.mean(theirs)) > plain + 0.05, (
        "both must have learnt something for the comparison to count"
    )
    spread = max(np.std(ours), np.std(theirs), 0.002)
    assert abs(np.mean(ours) - np.mean(theirs)) < 2 * spread
