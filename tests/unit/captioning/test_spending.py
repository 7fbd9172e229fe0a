"""Spending limits hold before a request is sent; amounts are worked out by hand."""

from __future__ import annotations

import asyncio

import pytest

from captioning.teachers.spending import NOTHING, Amount, Estimate, Ledger, Prices, estimate

# 1,000 for a million: a thousandth for a token, and two for one of an answer.
PRICES = Prices(1000, 2000)
ONE = Estimate(10, 5)  # 15 tokens, 0.01 + 0.01


def test_amounts() -> None:
    assert PRICES.amount(10, 5) == Amount(15, pytest.approx(0.02))
    assert Prices(1000, None).amount(10, 5) == Amount(15, None)
    assert Amount(3, 0.5) + Amount(4, 0.25) == Amount(7, 0.75)
    assert Amount(3, 0.5) + Amount(4, None) == Amount(7, None)


def test_an_estimate_counts_bytes_not_letters() -> None:
    assert estimate("cat", 50, 0) == Estimate(3 + 32, 50)
    assert estimate("猫", 50, 1000) == Estimate(3 + 32 + 1000, 50)


def allowed(ledger: Ledger, took: Amount, most: int = 20) -> int:
    """How many requests are let through one after the other, each taking `took`."""

    async def count() -> int:
        for number in range(most):
            reserved = await ledger.reserve(ONE)
            if isinstance(reserved, str):
                return number
            await ledger.settle(reserved, took)
        return most

    return asyncio.run(count())


@pytest.mark.parametrize(
    ("max_cost", "max_tokens", "took", "expected"),
    [
        (None, None, Amount(15, 0.02), 20),
        (0.2, None, Amount(15, 0.02), 10),
        # Six times 0.02 is exactly the limit, although floats add up to more.
        (0.12, None, Amount(15, 0.02), 6),
        (0.199, None, Amount(15, 0.02), 9),
        (0.0, None, Amount(15, 0.02), 0),
        (None, 45, Amount(15, 0.02), 3),
        (None, 44, Amount(15, 0.02), 2),
        # Each takes 5 of the 15 estimated: the fourth needs 15 beside 15 spent.
        (None, 30, Amount(5, 0.01), 4),
        (0.2, 45, Amount(15, 0.02), 3),
    ],
)
def test_the_limit_is_never_passed(
    max_cost: float | None, max_tokens: int | None, took: Amount, expected: int
) -> None:
    assert allowed(Ledger(PRICES, NOTHING, max_cost, max_tokens), took) == expected


def test_what_was_spent_before_counts() -> None:
    assert allowed(Ledger(PRICES, Amount(30, 0.1), 0.2), Amount(15, 0.02)) == 5
    assert allowed(Ledger(PRICES, Amount(30, 0.1), None, 60), Amount(15, 0.02)) == 2


def test_too_little_left_is_said_in_numbers() -> None:
    async def reserve(ledger: Ledger) -> object:
        return await ledger.reserve(ONE)

    assert asyncio.run(reserve(Ledger(PRICES, Amount(30, 0.1), 0.11))) == (
        "max_cost: 0.1 of 0.11 is spent, and the next request may cost 0.02"
    )
    assert asyncio.run(reserve(Ledger(PRICES, Amount(30, 0.1), None, 40))) == (
        "max_total_tokens: 30 of 40 tokens are spent, and the next request may take 15"
    )


def test_requests_under_way_are_counted_and_waited_for() -> None:
    async def try_it() -> None:
        ledger = Ledger(PRICES, NOTHING, None, 30)
        first, second = await ledger.reserve(ONE), await ledger.reserve(ONE)
        third = asyncio.create_task(ledger.reserve(ONE))  # 45 of 30
        await asyncio.sleep(0.01)
        assert not third.done()
        await ledger.settle(first, Amount(1, 0.0))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        assert not third.done()  # 1 + 15 + 15
        await ledger.settle(second, Amount(14, 0.0))  # type: ignore[arg-type]
        assert await third == Amount(15, pytest.approx(0.02))  # 15 + 15
        assert ledger.spent.tokens == 15

    asyncio.run(try_it())


def test_nothing_is_waited_for_once_nothing_is_under_way() -> None:
    async def try_it() -> object:
        ledger = Ledger(PRICES, NOTHING, None, 20)
        first = await ledger.reserve(ONE)
        second = asyncio.create_task(ledger.reserve(ONE))
        await asyncio.sleep(0.01)
        await ledger.settle(first, Amount(10, 0.0))  # type: ignore[arg-type]
        return await second

    assert "10 of 20 tokens are spent" in str(asyncio.run(try_it()))


def test_a_server_that_counts_more_raises_later_estimates() -> None:
    async def try_it() -> tuple[object, object]:
        ledger = Ledger(PRICES, NOTHING)
        before = await ledger.reserve(ONE)
        ledger.learn(ONE, 30, 5)  # three times the prompt tokens
        ledger.learn(ONE, 10, 10)  # twice the answer's
        ledger.learn(ONE, 1, 1)
        return before, await ledger.reserve(ONE)

    before, after = asyncio.run(try_it())
    assert before == Amount(15, pytest.approx(0.02))
    assert after == Amount(30 + 10, pytest.approx(0.03 + 0.02))
