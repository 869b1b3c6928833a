"""Penalties: values, gradients, which parameters they act on, what λ means."""

import pytest
import torch
from torch import nn

from lambda_rl import penalties
from lambda_rl.attach.layers import split_parameters
from lambda_rl.penalties import (
    PENALTIES,
    SMOOTHING,
    Penalty,
    lam_per_example,
    lam_per_parameter,
    penalised_weights,
    penalty,
    penalty_gradient,
    penalty_terms,
)

WEIGHTS = torch.tensor([-2.0, -SMOOTHING, -1e-9, 0.0, 1e-6, 0.3, 4.0], dtype=torch.float64)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.LayerNorm([4, 6]),
        nn.Linear(24, 5),
        nn.PReLU(),
    )


def test_values_as_documented():
    assert torch.allclose(penalty_terms(WEIGHTS, "l2"), WEIGHTS**2 / 2)
    assert torch.equal(penalty_terms(WEIGHTS, "l1"), WEIGHTS.abs())
    half = penalty_terms(WEIGHTS, "l0.5")
    assert (half - WEIGHTS.abs().sqrt()).abs().max() <= SMOOTHING**0.5
    assert half[3] == 0


@pytest.mark.parametrize("kind", PENALTIES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_zero_at_zero_and_finite_everywhere(kind, dtype):
    zero = torch.zeros(3, dtype=dtype)
    assert penalty_terms(zero, kind).eq(0).all()
    assert penalty_gradient(zero, kind).eq(0).all()
    w = torch.cat([WEIGHTS.to(dtype), torch.tensor([1e4, -1e4], dtype=dtype)])
    terms, gradient = penalty_terms(w, kind), penalty_gradient(w, kind)
    assert terms.dtype == gradient.dtype == dtype
    assert terms.isfinite().all()
    assert terms.ge(0).all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("kind", PENALTIES)
def test_gradient_is_that_of_autograd(kind):
    w = WEIGHTS.clone().requires_grad_()
    (expected,) = torch.autograd.grad(penalty_terms(w, kind).sum(), w)
    assert torch.allclose(penalty_gradient(WEIGHTS, kind), expected, rtol=1e-10, atol=0)


def test_half_gradient_bound():
    w = torch.logspace(-8, 2, 1000, dtype=torch.float64)
    assert penalty_gradient(w, "l0.5").max() <= 0.311 / SMOOTHING**0.5


class GroupLasso(Penalty):
    """The sum of the norms of the rows: no sum over weights."""

    def values(self, stacked):
        return stacked.flatten(2).norm(dim=2).sum(1)

    def gradient(self, stacked):
        return stacked / stacked.norm(dim=2, keepdim=True).clamp_min(1e-12)


def test_a_penalty_that_is_no_sum_over_weights_has_values_and_gradients_but_no_terms():
    weights = torch.tensor([[3.0, 4.0], [0.0, 0.0], [-6.0, 8.0]], dtype=torch.float64)
    with PENALTIES.temporarily("group-lasso", GroupLasso()):
        assert penalty([weights, weights], "group-lasso") == 30
        layers = penalty([weights, weights], "group-lasso", per_layer=True, normalize=True)
        assert layers == {"0": 2.5, "1": 2.5}
        gradient = penalty_gradient(weights, "group-lasso")
        assert torch.allclose(gradient[2], torch.tensor([-0.6, 0.8], dtype=torch.float64))
        assert gradient[1].eq(0).all()
        with pytest.raises(ValueError, match="GroupLasso is no sum over weights"):
            penalty_terms(weights, "group-lasso")
    assert "group-lasso" not in PENALTIES


@pytest.mark.parametrize("kind", PENALTIES)
def test_values_of_stacked_weights_are_those_of_each_network(kind):
    stacked = torch.randn(3, 4, 5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rule = PENALTIES[kind]
    values = rule.values(stacked)
    assert values.shape == (3,)
    for weights, value in zip(stacked, values, strict=True):
        assert value.item() == pytest.approx(penalty_terms(weights, kind).sum().item(), rel=1e-12)
        assert torch.equal(rule.value(weights), penalty([weights], kind))


def test_weight_decay_is_the_penalty_whose_gradient_is_the_weight():
    for name in PENALTIES.names():
        rule = PENALTIES[name]
        assert rule.is_weight_decay == torch.equal(rule.gradient(WEIGHTS), WEIGHTS)


def test_acts_on_weights_only():
    model = network()
    assert list(penalised_weights(model)) == ["0.weight", "4.weight"]
    model[0].weight.requires_grad_(False)
    assert list(penalised_weights(model, trainable_only=True)) == ["4.weight"]


def test_sum_per_layer_and_normalised():
    model = network()
    layers = penalty(model, "l1", per_layer=True)
    assert set(layers) == {"0.weight", "4.weight"}
    assert torch.allclose(penalty(model, "l1"), sum(layers.values()))
    count = model[0].weight.numel() + model[4].weight.numel()
    assert torch.allclose(penalty(model, "l1", normalize=True) * count, penalty(model, "l1"))
    mean = penalty(model, "l2", per_layer=True, normalize=True)["4.weight"]
    assert torch.allclose(mean, model[4].weight.square().mean() / 2)
    assert torch.equal(penalty([model[0].weight, model[4].weight], "l1"), penalty(model, "l1"))
    penalty(model, "l0.5").backward()
    assert model[0].weight.grad is not None
    assert model[0].bias.grad is None


def test_l2_penalty_is_what_weight_decay_does():
    decayed, penalised = nn.Linear(4, 3), nn.Linear(4, 3)
    penalised.load_state_dict(decayed.state_dict())
    by_decay = torch.optim.SGD(split_parameters(decayed, 0.3), lr=0.1)
    by_loss = torch.optim.SGD(penalised.parameters(), lr=0.1)
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    for _ in range(3):
        by_decay.zero_grad()
        decayed(x).square().mean().backward()
        by_decay.step()
        by_loss.zero_grad()
        (penalised(x).square().mean() + 0.3 * penalty(penalised, "l2")).backward()
        by_loss.step()
    assert torch.allclose(decayed.weight, penalised.weight, atol=1e-6)
    assert torch.allclose(decayed.bias, penalised.bias, atol=1e-6)


def test_split_has_every_parameter_once():
    model = network()
    model.tied = model[4]
    with_decay, without = split_parameters(model, 1e-4)
    assert with_decay["weight_decay"] == 1e-4
    assert without["weight_decay"] == 0.0
    ids = [id(p) for group in (with_decay, without) for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())
    assert {id(p) for p in with_decay["params"]} == {id(model[0].weight), id(model[4].weight)}


@pytest.mark.parametrize("call", [penalty_terms, penalty_gradient, penalty])
def test_unknown_kind_lists_the_known(call):
    with pytest.raises(ValueError, match=r"unknown penalty 'l3'; allowed: l2, l1, l0\.5"):
        call(torch.ones(2), "l3")


def test_other_errors():
    with pytest.raises(ValueError, match="no weights to penalise"):
        penalty(nn.BatchNorm1d(3), "l2")
    with pytest.raises(ValueError, match="weight_decay"):
        split_parameters(network(), -1.0)
    with pytest.raises(ValueError, match="num_train"):
        lam_per_example(1.0, 0)
    with pytest.raises(ValueError, match="num_params"):
        lam_per_parameter(1.0, 0)


def test_conventions():
    w = torch.tensor([1.0, -2.0, 3.0])
    assert lam_per_example(3.0, 1000) * penalty_terms(w, "l2").sum() == pytest.approx(3.0 / 2000 * 14.0)
    assert lam_per_parameter(3.0, 3) * penalties.penalty([w], "l1") == pytest.approx(
        3.0 * float(penalties.penalty([w], "l1", normalize=True))
    )
