#!/usr/bin/env python3
"""Writes orders.jsonl: always the same 1,000 orders, about a tenth above 1,000, and nine wrong, each in another way."""

import json
import pathlib
import random


def no_items(order: dict) -> None:
    order["items"] = []


def no_items_nothing_to_pay(order: dict) -> None:
    order["items"], order["totalAmount"] = [], 0.0


def a_quantity_of_zero(order: dict) -> None:
    order["items"][0]["quantity"] = 0


def a_negative_quantity(order: dict) -> None:
    order["items"][0]["quantity"] *= -1


def a_negative_price(order: dict) -> None:
    order["items"][0]["price"] *= -1


def a_cent_too_much(order: dict) -> None:
    order["totalAmount"] = round(order["totalAmount"] + 0.01, 2)


def a_cent_too_little(order: dict) -> None:
    order["totalAmount"] = round(order["totalAmount"] - 0.01, 2)


def an_item_not_paid(order: dict) -> None:
    order["items"].append(dict(order["items"][0]))


def a_negative_total(order: dict) -> None:
    order["totalAmount"] *= -1


WRONG = {
    97: no_items,
    203: a_cent_too_much,
    311: a_cent_too_little,
    407: a_quantity_of_zero,
    512: no_items_nothing_to_pay,
    618: an_item_not_paid,
    733: a_negative_quantity,
    845: a_negative_total,
    999: a_negative_price,
}


def order(number: int, rng: random.Random) -> dict:
    large = rng.random() < 0.1
    items = []
    for _ in range(rng.randint(1, 4)):
        price = rng.randint(30_000, 90_000) if large else rng.randint(99, 6_000)
        items.append({"productId": f"P-{rng.randint(1, 200):03}", "quantity": rng.randint(1, 3), "price": price / 100})
    order = {
        "orderId": f"O-{number:05}",
        "customerId": f"C-{rng.randint(1, 120):04}",
        "orderDate": 1_767_225_600_000 + number * 60_000,
        "totalAmount": round(sum(item["quantity"] * item["price"] for item in items), 2),
        "items": items,
    }
    if number in WRONG:
        WRONG[number](order)
    return order


if __name__ == "__main__":
    rng = random.Random(20260101)
    lines = [json.dumps(order(number, rng)) for number in range(1, 1_001)]
    pathlib.Path(__file__).with_name("orders.jsonl").write_text("\n".join(lines) + "\n")
