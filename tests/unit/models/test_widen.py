"""Weights with fewer latent channels as the start of a model with more."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from models.networks.autoencoder import build_autoencoder  # noqa: E402
from models.networks.transformer import ControlPixArt, build_transformer, predict_velocity  # noqa: E402
from models.training.widen import widen_autoencoder, widen_transformer  # noqa: E402

pytestmark = pytest.mark.train


def transformer(channels: int) -> ControlPixArt:
    """A tiny one whose last layer is not zero."""
    model = build_transformer(
        width=32, layers=1, head_width=16, patch=2, channels=channels, text_width=32, sample_size=4
    )
    torch.nn.init.normal_(model.proj_out.weight, std=0.1)
    return model.eval()


def test_a_widened_transformer_says_of_the_old_channels_what_it_said() -> None:
    """With nothing in the new channels, the old ones come out as before."""
    torch.manual_seed(0)
    old, new = transformer(4), transformer(6)
    new.load_state_dict(widen_transformer(old.state_dict(), new.state_dict(), patch=2))
    sample, sigma = torch.randn(2, 4, 4, 4), torch.tensor([0.3, 0.9])
    text, mask = torch.randn(2, 5, 32), torch.ones(2, 5)
    wider = torch.cat([sample, torch.zeros(2, 2, 4, 4)], dim=1)

    with torch.no_grad():
        before = predict_velocity(old, sample, sigma, text, mask)
        after = predict_velocity(new, wider, sigma, text, mask)

    assert torch.allclose(after[:, :4], before, atol=1e-5)
    assert after[:, 4:].abs().max() > 0  # a whisper, so that training finds a way


def test_a_widened_autoencoder_keeps_the_old_channels_and_nearly_the_picture() -> None:
    """Its first latents are the old ones exactly; the new ones change the picture by little."""
    torch.manual_seed(0)
    old, new = build_autoencoder(4, (8, 16)).eval(), build_autoencoder(6, (8, 16)).eval()
    new.load_state_dict(widen_autoencoder(old.state_dict(), new.state_dict()))
    pictures = torch.rand(2, 3, 32, 32) * 2 - 1

    with torch.no_grad():
        before, after = old.encode(pictures).latent_dist, new.encode(pictures).latent_dist
        assert torch.allclose(after.mean[:, :4], before.mean, atol=1e-5)
        assert torch.allclose(after.logvar[:, :4], before.logvar, atol=1e-5)
        change = (new.decode(after.mean).sample - old.decode(before.mean).sample).std()
        assert change < 0.2 * old.decode(before.mean).sample.std()


def test_weights_of_the_same_width_are_passed_on() -> None:
    """Nothing is copied and nothing changed."""
    state = transformer(4).state_dict()
    assert widen_transformer(state, state, patch=2) is state
