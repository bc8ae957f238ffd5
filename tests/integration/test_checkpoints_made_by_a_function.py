"""Checkpoints that one line of code makes many of, each with a closure of its own."""

from __future__ import annotations

from kitaru import checkpoint, flow


def test_s3_5_each_closure_has_a_code_digest_of_its_own() -> None:
    def times(factor: int):
        @checkpoint(name="times")
        def multiply(number: int) -> int:
            return number * factor

        return multiply

    @flow
    def products(factors: list[int]) -> list[int]:
        return [times(factor)(10) for factor in factors]

    assert products.run([2, 3]).wait(timeout=30) == [20, 30]
    assert products.run([2, 4]).wait(timeout=30) == [20, 40]
