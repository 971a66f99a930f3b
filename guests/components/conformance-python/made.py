"""Values that the component makes: the limits of every range, and text beyond ASCII."""

import math
import sys
from typing import List

from heddle import contracts
from heddle.contracts import Constructs, ConstructsChoice, Kind, Point


def constructs() -> Constructs:
    return Constructs(
        flag=True,
        int=-(2**31),
        long=2**63 - 1,
        float=0.1,
        double=-0.0,
        string="grüße, 世界 🧵\0\n",
        uuid="0f8fad5b-d9cb-469f-a165-70867728950e",
        bytes=bytes(range(256)),
        four=bytes([0, 127, 128, 255]),
        day=-719_162,
        time_millis=86_399_999,
        time_micros=86_399_999_999,
        at_millis=-1,
        at_micros=1_700_000_000_000_001,
        local_millis=9_007_199_254_740_993,
        price="-1234567890123456789012345678.90",
        rate="0.000001",
        class_="first",
        type=Kind.IN_TRANSIT,
        point=Point(-1, sys.float_info.max),
        longs=[-(2**63), -1, 0, 9_007_199_254_740_993],
        points=[Point(1, None), Point(2, 0.1)],
        rows=[[], [None, ""], ["a"]],
        map=[("", 1.5), ("ö", math.inf)],
        kinds=[("a", None), ("b", Kind.DEFAULT), ("c", Kind.RED2)],
        maybe="",
        perhaps=Point(2**31 - 1, None),
        flags=[True, False],
        choice=contracts.ConstructsChoice_Null(),
        next=None,
    )


def choices() -> List[ConstructsChoice]:
    """One of each branch."""
    return [
        contracts.ConstructsChoice_Null(),
        contracts.ConstructsChoice_String("text"),
        contracts.ConstructsChoice_Long(-(2**63)),
        contracts.ConstructsChoice_Boolean(False),
        contracts.ConstructsChoice_Double(sys.float_info.min),
        contracts.ConstructsChoice_Bytes(b"\1\2"),
        contracts.ConstructsChoice_Point(Point(0, -0.5)),
        contracts.ConstructsChoice_Kind(Kind.NONE),
        contracts.ConstructsChoice_Array([Point(3, None)]),
        contracts.ConstructsChoice_Map([("k", "v")]),
    ]
