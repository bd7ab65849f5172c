"""Each net as narrow and shallow as it can be: its form without its arithmetic."""

from tuner.models import PreActResNet18, PreActResNet34, ResNet50, ResNet101, ResNet152, WideResNet

NARROW = {
    settings.name: settings
    for settings in (
        PreActResNet18(width=4, blocks=(1, 2, 1, 1)),
        PreActResNet34(width=4, blocks=(1, 1, 2, 1)),
        WideResNet(depth=10, widen_factor=1),
        ResNet50(width=4, blocks=(1, 2, 1, 1)),
        ResNet101(width=4, blocks=(1, 1, 2, 1)),
        ResNet152(width=4, blocks=(1, 1, 1, 2)),
    )
}
