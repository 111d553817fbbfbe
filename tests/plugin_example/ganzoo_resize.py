"""Resize-convolution (Odena et al. 2016, doi:10.23915/distill.00003): enlarge, then convolve, and no checkerboard."""

from torch import Tensor, nn

from ganzoo.plugin import Spec, Variant, generators, variants


@generators.register("resize")
class ResizeGenerator(nn.Module):
    """z [N, latent_dim] (and labels [N]) -> images [N, C, H, W] in [-1, 1], enlarged twice by nearest neighbours."""

    def __init__(
        self, image_shape: tuple[int, int, int], latent_dim: int, num_classes: int | None, *, width: int = 32
    ) -> None:
        super().__init__()
        channels, h, w = image_shape
        self.labels = None if num_classes is None else nn.Embedding(num_classes, latent_dim)
        self.body = nn.Sequential(
            nn.Linear(latent_dim, 4 * width * (h // 4) * (w // 4)),
            nn.Unflatten(1, (4 * width, h // 4, w // 4)),
            nn.ReLU(),
            *enlarge(4 * width, 2 * width, (h // 2, w // 2)),
            *enlarge(2 * width, width, (h, w)),
            nn.Conv2d(width, channels, kernel_size=3, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.labels is not None:
            z = z * self.labels(labels)
        images: Tensor = self.body(z)
        return images


def enlarge(fan_in: int, fan_out: int, size: tuple[int, int]) -> list[nn.Module]:
    convolution = nn.Conv2d(fan_in, fan_out, kernel_size=3, padding=1, bias=False)
    return [nn.Upsample(size), convolution, nn.BatchNorm2d(fan_out), nn.ReLU()]


@variants.register("resize-gan")
def resize_gan() -> Variant:
    return Variant(
        generator=Spec("resize"),
        discriminator=Spec("dcgan"),
        loss=Spec("hinge"),
        penalties=(Spec("gradient", at="real", weight=0.1, every=16),),
    )
