"""Which students there are; light to import, so that `edgekd list` needs no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Student:
    """`weights` names packaged ImageNet weights, `timm_name` the network where timm's differs.

    The Lite weights were trained with TensorFlow's SAME padding, which timm has under `tf_`.
    """

    architecture: str
    note: str
    weights: str | None = None
    timm_name: str | None = None


STUDENTS: dict[str, Student] = {
    student.architecture: student
    for student in (
        Student("mobilenetv2_035", "0.4 M parameters, ReLU6, quantizes well"),
        Student("mobilenetv2_050", "0.7 M parameters, ReLU6, quantizes well"),
        Student("mobilenetv2_100", "2.2 M parameters, ReLU6, quantizes well"),
        Student("mobilenetv3_small_050", "0.6 M parameters, SE and hard-swish: int8 is harder"),
        Student("mobilenetv3_small_075", "1.0 M parameters, SE and hard-swish: int8 is harder"),
        Student("mobilenetv3_small_100", "1.5 M parameters, SE and hard-swish: int8 is harder"),
        Student("mobilenetv3_large_100", "4.2 M parameters, SE and hard-swish: int8 is harder"),
        Student("mobilenetv4_conv_small_050", "0.9 M parameters, quantizes well"),
        Student("mobilenetv4_conv_small", "2.5 M parameters, quantizes well"),
        Student(
            "efficientnet_lite0",
            "3.4 M parameters, ReLU6; ImageNet weights packaged",
            "efficientnet_lite0",
            "tf_efficientnet_lite0",
        ),
    )
}
