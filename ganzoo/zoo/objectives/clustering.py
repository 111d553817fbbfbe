"""ClusterGAN (Mukherjee et al. 2019, arXiv:1809.03627, eq. 3): an encoder recovers the images' latents and code."""

from pydantic import NonNegativeFloat
from torch import Tensor
from torch.nn.functional import cross_entropy

from ganzoo.errors import UsageError
from ganzoo.registry import objectives
from ganzoo.zoo.batch import Batch
from ganzoo.zoo.objectives.adversarial import Adversarial, Share
from ganzoo.zoo.objectives.base import Parts, Terms
from ganzoo.zoo.terms.base import Drawn, PlayerName


@objectives.register("clustering")
class Clustering(Adversarial):
    """The adversarial game in which generator and encoder also minimise the errors of E(G(z, c)).

    Its settings are those of `adversarial` and two weights: of the mean squared error of z, and of the cross-entropy of
    the categorical code c, whose values become the clusters. The encoder's last columns are the code's logits.
    """

    encodes = True
    encodes_code = True

    def __init__(
        self,
        parts: Parts,
        *,
        latent_weight: NonNegativeFloat = 10.0,
        code_weight: NonNegativeFloat = 10.0,
        generator_weight: NonNegativeFloat = 1.0,
        top_k: Share = 1.0,
    ) -> None:
        super().__init__(parts, generator_weight=generator_weight, top_k=top_k)
        self.latent_weight = latent_weight
        self.code_weight = code_weight

    def terms(self, player: PlayerName, batch: Batch, drawn: Drawn, due: tuple[str, ...]) -> Terms:
        values = super().terms(player, batch, drawn, due)
        if player == "generator":
            values |= self._errors(self.encoder(drawn["fake"], None).float(), batch)
        return values

    def _errors(self, encoded: Tensor, batch: Batch) -> Terms:
        if batch.fake_labels is None:
            raise UsageError("the objective 'clustering' needs a categorical code, whose values are the clusters")
        columns = batch.z.shape[1]
        z, code = encoded[:, :columns], encoded[:, columns:]
        return {
            "latents": self.latent_weight * (z - batch.z).square().mean(),
            "code": self.code_weight * cross_entropy(code, batch.fake_labels),
        }
