"""BiGAN and ALI: a discriminator of pairs of an image and a latent.

Donahue et al. 2017 (arXiv:1605.09782, eq. 3), Dumoulin et al. 2017 (arXiv:1606.00704, eq. 2).
"""

from torch import Tensor

from ganzoo.errors import UsageError
from ganzoo.registry import objectives
from ganzoo.zoo.batch import Batch
from ganzoo.zoo.objectives.base import Objective, Parts, Terms
from ganzoo.zoo.terms.base import Drawn, PlayerName


@objectives.register("bidirectional")
class Bidirectional(Objective):
    """Real pairs are (x, E(x)), generated pairs (G(z), z); generator and encoder train together.

    Their loss is the discriminator's with the two kinds exchanged: the non-saturating form of the paper's game.
    """

    encodes = True
    sees_pairs = True

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        for name, term in self.added.items():
            if term.judges_others:
                raise UsageError(
                    f"the term '{name}' reads the logits of images without a latent, and the objective "
                    "'bidirectional' needs pairs: use a term that reads only those of the real images, such as the "
                    "gradient penalty with --set terms.N.at=real"
                )

    def draw(self, batch: Batch) -> Drawn:
        encoded: Tensor = self.encoder(batch.real, batch.labels if self.conditional else None)
        return {**super().draw(batch), "encoded": encoded.float()}

    def terms(self, player: PlayerName, batch: Batch, drawn: Drawn, due: tuple[str, ...]) -> Terms:
        encoded = drawn["encoded"]
        real, fake = self.judged_both(batch, drawn["fake"], encoded, batch.z)
        ours, theirs = (real, fake) if player == "discriminator" else (fake, real)
        values = {"adversarial": self.loss.d(ours.logits, theirs.logits)}
        return self.add_terms(values, due, player, batch, drawn, real, fake, encoded)
