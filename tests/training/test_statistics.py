"""The batch-norm statistics of an averaged generator: those of its own weights, whenever they are asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_images, train_tiny
from torch import nn

from ganzoo import data
from ganzoo.runs.opening import as_generator, load_network
from ganzoo.training import state as state_module
from ganzoo.training.prepare import configure, prepare, with_compute
from ganzoo.training.state import TrainingState, measure_statistics


def norms_of(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


@pytest.mark.parametrize("variant", ["dcgan", "gan", "cdcgan", "infogan"])
def test_a_checkpoint_has_the_statistics_of_the_averaged_weights(variant: str, tmp_path: Path) -> None:
    run = train_tiny(variant, make_images(), tmp_path / "run", steps=300)
    network, config, _ = load_network(run)
    kept = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms_of(network)]  # type: ignore[union-attr]
    assert kept
    seen: list[list[torch.Tensor]] = [[] for _ in kept]
    hooks = [
        norm.register_forward_pre_hook(lambda _, given, place=place: place.append(given[0]))
        for norm, place in zip(norms_of(network), seen, strict=True)
    ]
    for norm in norms_of(network):
        norm.train()  # as in training, each layer is given what the one before made of its own batch
    generator = as_generator(network, config)
    generator.forward(generator.info.latents(7, 0, 4000), generator.labels_for(4000))
    for hook in hooks:
        hook.remove()
    for place, (mean, variance) in zip(seen, kept, strict=True):
        (given,) = place
        axes = [axis for axis in range(given.ndim) if axis != 1]
        assert (given.mean(axes) - mean).abs().max() < 0.15 * given.std(axes).mean()  # of other latents
        torch.testing.assert_close(variance, given.var(axes), rtol=0.25, atol=1e-3)


def test_classes_that_no_batch_holds_together_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 100 classes, drawn 8 at a time: an embedding's variance over all classes, not within neighbours."""
    monkeypatch.setattr(state_module, "STATISTICS_PIXELS", 1)
    images, _ = make_images()
    labels = np.arange(len(images)) % 100
    made = data.from_arrays(images, labels)
    settings = ["train.device=cpu", "data.batch_size=4", "generator.width=4"]
    training = with_compute(prepare(configure("cdcgan", made, steps=9, settings=settings), made))
    state = TrainingState(training.config, training.device)
    generator: Any = state.objective.generator
    with torch.no_grad():  # the label is all that the first layer reads: class 0 gives 0, class 99 gives 99
        embedding = generator.labels.weight
        embedding.copy_(torch.arange(float(len(embedding)))[:, None].expand_as(embedding))
        first = generator.body[0].weight
        first.zero_()
        first[:, -1] = 1.0
    measure_statistics(generator, training.config, training.device, step=1000)
    (norm, *_) = norms_of(generator)
    assert norm.running_var is not None
    assert norm.running_var.mean().item() == pytest.approx(embedding[:, 0].var().item(), rel=0.15)


@pytest.mark.parametrize(("step", "drawn"), [(0, 8), (3, 12), (100, 400), (10**6, 4096)])
def test_no_more_latents_are_drawn_than_images_were_trained_with(step: int, drawn: int) -> None:
    images = make_images()
    settings = ["train.device=cpu", "data.batch_size=4"]
    training = with_compute(prepare(configure("dcgan", images, steps=9, settings=settings), images))
    generator: Any = TrainingState(training.config, training.device).objective.generator
    counts: list[int] = []
    generator.register_forward_pre_hook(lambda _, given: counts.append(len(given[0])))
    measure_statistics(generator, training.config, training.device, step)
    assert drawn <= sum(counts) < drawn + counts[0]
    counts.clear()
    measure_statistics(generator, training.config.with_train(start_from="run"), training.device, step)
    assert sum(counts) == 4096  # of weights that were trained before


def test_they_are_a_function_of_the_weights_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    images = make_images()
    training = with_compute(prepare(configure("dcgan", images, steps=9, settings=["train.device=cpu"]), images))
    state = TrainingState(training.config, training.device)
    network = state.averaged_generator
    first = {name: value.clone() for name, value in network.state_dict().items()}
    before = torch.get_rng_state()
    measure_statistics(network, training.config, training.device, state.step)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, first[name]) for name, value in network.state_dict().items())
    assert not any(norm.training or norm.momentum is None for norm in norms_of(network))
    calls: list[object] = []
    monkeypatch.setattr(state_module, "measure_statistics", lambda *given: calls.append(given))
    assert state.averaged_generator is state.averaged_generator
    assert not calls  # at the same step they are not measured again
    state.step += 1
    assert state.averaged_generator is network
    assert len(calls) == 1
