"""R3GAN (Huang et al. 2024, arXiv:2501.05441, section 4): plain residual networks, RpGAN, R1 and R2, schedules.

The paper's schedules from start to end of the budget: learning rate, penalties, second beta and weight average.
Narrower networks, ten times the paper's learning rates, and penalties in every 8th update instead of each, which takes
a fifth of the time.
"""

from ganzoo.plugin import Adam, Schedule, Spec, Variant, variants


@variants.register("r3gan")
def r3gan() -> Variant:
    return Variant(
        family="network",
        generator=Spec("r3gan"),
        discriminator=Spec("r3gan"),
        loss=Spec("relativistic-pairing"),
        terms=(
            Spec("gradient", at="real", weight=Schedule(0.1, 0.02, shape="cosine"), every=8),
            Spec("gradient", at="fake", weight=Schedule(0.1, 0.02, shape="cosine"), every=8),
        ),
        defaults={"train.ema": Schedule(0.99, 0.9995, shape="cosine")},
        generator_optimizer=Adam(
            lr=Schedule(0.002, 0.0005, shape="cosine"), betas=(0.0, Schedule(0.9, 0.99, shape="cosine"))
        ),
        discriminator_optimizer=Adam(
            lr=Schedule(0.002, 0.0005, shape="cosine"), betas=(0.0, Schedule(0.9, 0.99, shape="cosine"))
        ),
    )
