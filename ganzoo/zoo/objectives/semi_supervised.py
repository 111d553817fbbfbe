"""The semi-supervised game of K + 1 classes (Salimans et al. 2016, arXiv:1606.03498, section 5)."""

from ganzoo.registry import objectives
from ganzoo.zoo.objectives.adversarial import Adversarial


@objectives.register("semi-supervised")
class SemiSupervised(Adversarial):
    """The adversarial game of a discriminator with the K classes of the data and one class for generated images.

    Its logit is log p(real | x) - log p(generated | x) of a softmax over all K + 1 classes. So the class head learns a
    single distribution from labels (the term `supervision`) and from images without labels.
    """

    class_logits = True
