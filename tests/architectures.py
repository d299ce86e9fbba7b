# SPDX-License-Identifier: BSD-3-Clause
"""Architectures as torchvision and the CIFAR ResNets have them, at any width; torchvision itself is not needed."""

from __future__ import annotations

import torch
from torch import nn

F = nn.functional


def conv3(before, after, stride=1, groups=1):
    return nn.Conv2d(before, after, 3, stride, 1, groups=groups, bias=False)


def conv1(before, after, stride=1):
    return nn.Conv2d(before, after, 1, stride, bias=False)


# ---------------------------------------------------------------------------------------------------- residual networks


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, before, planes, stride=1, downsample=None, groups=1, base_width=64, unit=64):
        super().__init__()
        self.conv1, self.bn1 = conv3(before, planes, stride), nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = conv3(planes, planes), nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x):
        identity = x
        out = self.conv1(x)
        out = self.bn1(out)
        out = self.relu(out)
        out = self.conv2(out)
        out = self.bn2(out)
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, before, planes, stride=1, downsample=None, groups=1, base_width=64, unit=64):
        super().__init__()
        width = int(planes * (base_width / 64.0)) * groups
        self.conv1, self.bn1 = conv1(before, width), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv3(width, width, stride, groups), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv1(width, planes * 4), nn.BatchNorm2d(planes * 4)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, block, layers, outputs=1000, groups=1, width_per_group=64, channels=64):
        super().__init__()
        self.inplanes, self.groups, self.base_width = channels, groups, width_per_group
        self.conv1 = nn.Conv2d(3, channels, 7, 2, 3, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, channels, layers[0])
        self.layer2 = self._make_layer(block, 2 * channels, layers[1], 2)
        self.layer3 = self._make_layer(block, 4 * channels, layers[2], 2)
        self.layer4 = self._make_layer(block, 8 * channels, layers[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8 * channels * block.expansion, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _make_layer(self, block, planes, blocks, stride=1):
        downsample, out = None, planes * block.expansion
        if stride != 1 or self.inplanes != out:
            downsample = nn.Sequential(conv1(self.inplanes, out, stride), nn.BatchNorm2d(out))
        layers = [block(self.inplanes, planes, stride, downsample, self.groups, self.base_width)]
        self.inplanes = out
        layers += [block(out, planes, groups=self.groups, base_width=self.base_width) for _ in range(blocks - 1)]
        return nn.Sequential(*layers)

    def _forward_impl(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.avgpool(x)
        x = torch.flatten(x, 1)
        return self.fc(x)

    def forward(self, x):
        return self._forward_impl(x)


class LambdaLayer(nn.Module):
    def __init__(self, lambd):
        super().__init__()
        self.lambd = lambd

    def forward(self, x):
        return self.lambd(x)


class CifarBlock(nn.Module):
    """Skips without parameters, with zeros on both sides of the channels, as the best known repository has it."""

    def __init__(self, before, planes, stride=1):
        super().__init__()
        self.conv1, self.bn1 = conv3(before, planes, stride), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = conv3(planes, planes), nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or before != planes:
            self.shortcut = LambdaLayer(
                lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, planes // 4, planes // 4), "constant", 0)
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class CifarResNet(nn.Module):
    def __init__(self, depth, channels=16):
        super().__init__()
        self.in_planes, blocks = channels, (depth - 2) // 6
        self.conv1, self.bn1 = conv3(3, channels), nn.BatchNorm2d(channels)
        self.layer1 = self._make_layer(channels, blocks, 1)
        self.layer2 = self._make_layer(2 * channels, blocks, 2)
        self.layer3 = self._make_layer(4 * channels, blocks, 2)
        self.linear = nn.Linear(4 * channels, 10)

    def _make_layer(self, planes, blocks, stride):
        layers = []
        for step in [stride] + [1] * (blocks - 1):
            layers.append(CifarBlock(self.in_planes, planes, step))
            self.in_planes = planes
        return nn.Sequential(*layers)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = F.avg_pool2d(out, out.size()[3])
        out = out.view(out.size(0), -1)
        return self.linear(out)


# ---------------------------------------------------------------------------------------------- chains of convolutions

_VGG = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class VGG(nn.Module):
    def __init__(self, depth, batch_norm=False, channels=64, hidden=4096, outputs=1000):
        super().__init__()
        layers, before = [], 3
        for stage, count in enumerate(_VGG[depth]):
            after = channels * min(2**stage, 8)
            for _ in range(count):
                layers += [nn.Conv2d(before, after, 3, padding=1)]
                layers += [nn.BatchNorm2d(after)] if batch_norm else []
                layers += [nn.ReLU(inplace=True)]
                before = after
            layers += [nn.MaxPool2d(kernel_size=2, stride=2)]
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            *(nn.Linear(before * 7 * 7, hidden), nn.ReLU(True), nn.Dropout(0.5)),
            *(nn.Linear(hidden, hidden), nn.ReLU(True), nn.Dropout(0.5), nn.Linear(hidden, outputs)),
        )

    def forward(self, x):
        x = self.features(x)
        x = self.avgpool(x)
        x = torch.flatten(x, 1)
        return self.classifier(x)


class AlexNet(nn.Module):
    def __init__(self, width=1.0, outputs=1000):
        super().__init__()
        a, b, c, d, hidden = (int(width * count) for count in (64, 192, 384, 256, 4096))
        self.features = nn.Sequential(
            *(nn.Conv2d(3, a, 11, 4, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(a, b, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
            *(
                nn.Conv2d(b, c, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(c, d, 3, padding=1),
                nn.ReLU(inplace=True),
            ),
            *(nn.Conv2d(d, d, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            *(nn.Dropout(0.5), nn.Linear(d * 36, hidden), nn.ReLU(inplace=True)),
            *(nn.Dropout(0.5), nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, outputs)),
        )

    def forward(self, x):
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))


# --------------------------------------------------------------------------------------------------------- MobileNetV2


class InvertedResidual(nn.Module):
    def __init__(self, before, after, stride, ratio):
        super().__init__()
        hidden = round(before * ratio)
        self.use_res_connect = stride == 1 and before == after
        layers = []
        if ratio != 1:
            layers.append(nn.Sequential(conv1(before, hidden), nn.BatchNorm2d(hidden), nn.ReLU6(inplace=True)))
        layers += [
            nn.Sequential(conv3(hidden, hidden, stride, hidden), nn.BatchNorm2d(hidden), nn.ReLU6(inplace=True)),
            conv1(hidden, after),
            nn.BatchNorm2d(after),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Module):
    """Of ImageNet; `small`, for images of 32 x 32, has seven of its blocks and halves an image twice."""

    def __init__(self, width=1.0, outputs=1000, least=1, small=False):
        super().__init__()
        settings = [
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ]
        if small:
            settings = [(1, 32, 1, 1), (6, 32, 2, 1), (6, 48, 2, 2), (6, 64, 2, 2)]
        before, last = max(int(32 * width), least), int((256 if small else 1280) * width)
        features = [nn.Sequential(conv3(3, before, 1 if small else 2), nn.BatchNorm2d(before), nn.ReLU6(inplace=True))]
        for ratio, channels, count, stride in settings:
            after = max(int(channels * width), least)
            for place in range(count):
                features.append(InvertedResidual(before, after, 1 if place else stride, ratio))
                before = after
        features.append(nn.Sequential(conv1(before, last), nn.BatchNorm2d(last), nn.ReLU6(inplace=True)))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, outputs))

    def forward(self, x):
        x = self.features(x)
        x = F.adaptive_avg_pool2d(x, (1, 1))
        x = torch.flatten(x, 1)
        return self.classifier(x)


# ---------------------------------------------------------------------------------------------------- what is refused


class DenseLayer(nn.Module):
    def __init__(self, before, growth):
        super().__init__()
        self.norm1, self.relu1, self.conv1 = nn.BatchNorm2d(before), nn.ReLU(inplace=True), conv1(before, 4 * growth)
        self.norm2, self.relu2, self.conv2 = (
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(inplace=True),
            conv3(4 * growth, growth),
        )

    def forward(self, features):
        x = torch.cat(features, 1)
        return self.conv2(self.relu2(self.norm2(self.conv1(self.relu1(self.norm1(x))))))


class DenseBlock(nn.ModuleDict):
    def __init__(self, count, before, growth):
        super().__init__()
        for place in range(count):
            self.add_module(f"denselayer{place + 1}", DenseLayer(before + place * growth, growth))

    def forward(self, start):
        features = [start]
        for _, layer in self.items():
            features.append(layer(features))
        return torch.cat(features, 1)


class DenseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), DenseBlock(2, 8, 4)
        )
        self.classifier = nn.Linear(16, 10)

    def forward(self, x):
        x = F.relu(self.features(x), inplace=True)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


class InceptionA(nn.Module):
    def __init__(self):
        super().__init__()
        self.branch1x1, self.branch5x5, self.pool = (
            nn.Conv2d(8, 4, 1),
            nn.Conv2d(8, 4, 5, padding=2),
            nn.Conv2d(8, 4, 1),
        )

    def _forward(self, x):
        pooled = self.pool(F.avg_pool2d(x, kernel_size=3, stride=1, padding=1))
        return [self.branch1x1(x), self.branch5x5(x), pooled]

    def forward(self, x):
        return torch.cat(self._forward(x), 1)


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.Mixed_5b, self.fc = nn.Conv2d(3, 8, 3, 2), InceptionA(), nn.Linear(12, 10)

    def forward(self, x):
        x = self.Mixed_5b(F.relu(self.stem(x), inplace=True))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class SqueezeExcitation(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.avgpool, self.fc1, self.fc2 = nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 2, 1), nn.Conv2d(2, channels, 1)

    def forward(self, x):
        scale = torch.sigmoid(self.fc2(F.silu(self.fc1(self.avgpool(x)))))
        return scale * x


class EfficientNet(nn.Module):
    def __init__(self):
        super().__init__()
        block = nn.Sequential(
            conv3(8, 8, 1, 8), nn.BatchNorm2d(8), nn.SiLU(inplace=True), SqueezeExcitation(8), conv1(8, 8)
        )
        self.features = nn.Sequential(conv3(3, 8, 2), nn.BatchNorm2d(8), nn.SiLU(inplace=True), block)
        self.classifier = nn.Linear(8, 10)

    def forward(self, x):
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(self.features(x), 1), 1))


class CNBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.dwconv, self.norm = nn.Conv2d(channels, channels, 7, padding=3, groups=channels), nn.LayerNorm(channels)
        self.one, self.two = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.layer_scale = nn.Parameter(torch.ones(channels, 1, 1) * 1e-6)

    def forward(self, x):
        y = self.dwconv(x).permute(0, 2, 3, 1)
        y = self.two(F.gelu(self.one(self.norm(y)))).permute(0, 3, 1, 2)
        return x + self.layer_scale * y


class ConvNeXt(nn.Module):
    def __init__(self):
        super().__init__()
        self.features, self.head = nn.Sequential(nn.Conv2d(3, 8, 4, 4), CNBlock(8)), nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_proj = nn.Conv2d(3, 8, 8, 8)
        self.class_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        x = self.conv_proj(x).reshape(x.shape[0], 8, -1).permute(0, 2, 1)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        return self.head(self.encoder(x)[:, 0])
