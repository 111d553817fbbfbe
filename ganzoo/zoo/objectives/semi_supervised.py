"""The semi-supervised game of K + 1 classes (Salimans et al. 2016, arXiv:1606.03498, section 5)."""

from ganzoo.registry import objectives
from ganzoo.zoo.objectives.adversarial import Adversarial


@objectives.register("semi-supervised")
class SemiSupervised(Adversarial):
    """The adversarial game of a discriminator whose classes are those of the data, and one more for generated images.

    Its logit is log p(real | x) - log p(generated | x) of a softmax over all K + 1, so that what the class head learns
    from labels (the term `supervision`) and what it learns from images without them is one distribution.
    """

    class_logits = True
