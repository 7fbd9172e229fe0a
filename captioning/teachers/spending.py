"""Spending limits that hold before a request is sent, in money and in tokens."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True)
class Amount:
    """Tokens and money; `cost` is None where no prices are known."""

    tokens: int = 0
    cost: float | None = 0.0

    def __add__(self, other: Amount) -> Amount:
        both = self.cost is not None and other.cost is not None
        cost = self.cost + other.cost if both else None  # type: ignore[operator]
        return Amount(self.tokens + other.tokens, cost)


NOTHING = Amount()


@dataclass(frozen=True)
class Prices:
    """Money for a million tokens; None where it is not known."""

    tokens_in: float | None = None
    tokens_out: float | None = None

    def amount(self, tokens_in: int, tokens_out: int) -> Amount:
        """Returns the tokens with what they cost."""
        if self.tokens_in is None or self.tokens_out is None:
            return Amount(tokens_in + tokens_out, None)
        cost = (tokens_in * self.tokens_in + tokens_out * self.tokens_out) / 1e6
        return Amount(tokens_in + tokens_out, cost)


@dataclass(frozen=True)
class Estimate:
    """The most that one request is expected to take."""

    tokens_in: int
    tokens_out: int


def estimate(prompt: str, max_tokens: int, image_tokens: int) -> Estimate:
    """Returns an upper bound for one request.

    No tokenizer that goes by bytes makes more tokens of a text than it has bytes; 32 are for what
    a chat template puts around it.
    """
    return Estimate(len(prompt.encode()) + 32 + image_tokens, max_tokens)


class Ledger:
    """What was spent, and what requests under way may still cost.

    A request is let through only if it fits beside all others even at its estimate. Where a server
    counts more than was estimated, later estimates grow by that ratio.
    """

    def __init__(
        self,
        prices: Prices,
        spent: Amount,
        max_cost: float | None = None,
        max_tokens: int | None = None,
    ):
        self.spent = spent
        self._prices, self._max_cost, self._max_tokens = prices, max_cost, max_tokens
        self._reserved: list[Amount] = []
        self._factors = (1.0, 1.0)
        self._changed = asyncio.Condition()

    async def reserve(self, wanted: Estimate) -> Amount | str:
        """Returns what is set aside for a request, or in words why there is not enough.

        Waits while requests under way may turn out cheaper than they were estimated.
        """
        async with self._changed:
            while True:
                amount = self._amount(wanted)
                short = self._short(amount)
                if short is None:
                    self._reserved.append(amount)
                    return amount
                if not self._reserved:
                    return short
                await self._changed.wait()

    async def settle(self, reserved: Amount, spent: Amount) -> None:
        """Gives a reservation back and books what the request really took."""
        async with self._changed:
            self._reserved.remove(reserved)
            self.spent = self.spent + spent
            self._changed.notify_all()

    def learn(self, wanted: Estimate, tokens_in: int, tokens_out: int) -> None:
        """Makes later estimates larger where the server counted more than `wanted`."""
        self._factors = (
            max(self._factors[0], tokens_in / max(wanted.tokens_in, 1)),
            max(self._factors[1], tokens_out / max(wanted.tokens_out, 1)),
        )

    def _amount(self, wanted: Estimate) -> Amount:
        tokens_in, tokens_out = self._factors
        return self._prices.amount(
            round(wanted.tokens_in * tokens_in), round(wanted.tokens_out * tokens_out)
        )

    def _short(self, amount: Amount) -> str | None:
        taken = self.spent
        for reserved in self._reserved:
            taken = taken + reserved
        if self._max_tokens is not None and taken.tokens + amount.tokens > self._max_tokens:
            return (
                f"max_total_tokens: {self.spent.tokens} of {self._max_tokens} tokens are spent, "
                f"and the next request may take {amount.tokens}"
            )
        if self._max_cost is None or taken.cost is None or amount.cost is None:
            return None
        if taken.cost + amount.cost <= self._max_cost * (1 + 1e-9):  # sums of floats
            return None
        return (
            f"max_cost: {self.spent.cost:.6g} of {self._max_cost:.6g} is spent, "
            f"and the next request may cost {amount.cost:.6g}"
        )
