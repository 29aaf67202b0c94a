"""What makes results of a network's raw outputs inside an exported graph."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from engine.export.parity import Gap, largest, values_apart
from engine.types import Result, Size, Target


class ExportHead(nn.Module):
    """Base of the tasks' export heads: what most of them share.

    `forward(*raw_outputs, network, given)` gives the tensors named by `outputs`. `network` is the
    size (height, width) of the network input, `given` that of the image that results refer to.
    """

    outputs: tuple[str, ...]  # names of what forward gives

    def onnx_operators(self) -> dict[Any, Any]:
        """ONNX code of the operators that torch has no code for: none."""
        return {}

    def apart(self, wanted: Sequence[Tensor], found: Sequence[Tensor]) -> Gap:
        """The difference between two computations of these outputs: the largest of a value."""
        return largest([values_apart(*pair) for pair in zip(wanted, found, strict=True)])

    def results(
        self, outputs: Mapping[str, Tensor], size: Size, targets: Sequence[Target]
    ) -> Sequence[Result]:
        """The results of mode="predict" from these outputs, which refer to images of `size`."""
        raise NotImplementedError(f"{type(self).__name__} does not say how results are made")
