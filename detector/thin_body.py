"""open_nsfw's thin ResNet-50 as a RetinaNet's backbone: small, fast on a CPU, and taught on photographs of our subject.

Its batch norms are folded into its convolutions, as in the file that its weights come from: it is fine-tuned without.
"""

from torch import Tensor, nn

from detector.resnet_thin import ResNetThin, load_resnet_thin

__all__ = ["ThinBody"]


class ThinBody(nn.Module):
    """The stages of `ResNetThin` under torchvision's names, so that stages lock and weight files read alike.

    Args:
        network: whose stages are taken over; None builds one with random weights.
    """

    # Of c3, c4 and c5.
    channels = (256, 512, 1024)

    def __init__(self, network: ResNetThin | None = None) -> None:
        super().__init__()
        source = ResNetThin() if network is None else network
        self.conv1, self.bn1, self.relu, self.maxpool = source.conv_1, nn.Identity(), source.relu_1, source.pool
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            source.get_submodule(f"stage{number}") for number in range(4)
        )

    @classmethod
    def pretrained(cls) -> "ThinBody":
        """Return the backbone with Yahoo's weights.

        Raises:
            ModelError: when they are missing or altered, or `onnx` is not installed.
        """
        return cls(load_resnet_thin())

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return c3, c4 and c5 of images (B, 3, H, W) whose sides are multiples of 32."""
        x = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(images)))))
        c3 = self.layer2(x)
        c4 = self.layer3(c3)
        return {"c3": c3, "c4": c4, "c5": self.layer4(c4)}
