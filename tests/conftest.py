"""Shared by all tests: assertions in the contract suite explain themselves like those in test files."""

import pytest

pytest.register_assert_rewrite("contract", "oracles")
