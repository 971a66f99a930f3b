#!/usr/bin/env python3
"""Writes orders.jsonl: 1,000 orders, always the same ones; about a tenth above 1,000, nine of them wrong."""

import json
import pathlib
import random

WRONG = {97: "empty", 203: "total", 311: "total", 407: "quantity", 512: "empty", 618: "total", 733: "quantity", 845: "total", 999: "empty"}


def order(number: int, rng: random.Random) -> dict:
    large = rng.random() < 0.1
    items = []
    for _ in range(rng.randint(1, 4)):
        price = rng.randint(30_000, 90_000) if large else rng.randint(99, 6_000)
        items.append({"productId": f"P-{rng.randint(1, 200):03}", "quantity": rng.randint(1, 3), "price": price / 100})
    wrong = WRONG.get(number)
    if wrong == "empty":
        items = []
    elif wrong == "quantity":
        items[0]["quantity"] = 0
    total = round(sum(item["quantity"] * item["price"] for item in items), 2)
    if wrong == "total":
        total = round(total + 1, 2)
    return {
        "orderId": f"O-{number:05}",
        "customerId": f"C-{rng.randint(1, 120):04}",
        "orderDate": 1_767_225_600_000 + number * 60_000,
        "totalAmount": total,
        "items": items,
    }


if __name__ == "__main__":
    rng = random.Random(20260101)
    lines = [json.dumps(order(number, rng)) for number in range(1, 1_001)]
    pathlib.Path(__file__).with_name("orders.jsonl").write_text("\n".join(lines) + "\n")
