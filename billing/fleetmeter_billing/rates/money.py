"""Money: Decimal, rounded once, at the invoice's line, half away from zero, to the currency's exponent.

Arithmetic on the way there runs in CONTEXT. Quantities have up to 39 digits and amounts up to 18, so that products and
sums are exact; the only step that may round is a division by days, at the 60th digit.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Context, Decimal, DivisionByZero, InvalidOperation, Overflow, localcontext
from functools import cache
from typing import Final

from fleetmeter_billing.errors import CurrencyError

CONTEXT: Final = Context(prec=60, rounding=ROUND_HALF_UP, traps=[InvalidOperation, DivisionByZero, Overflow])
"""For every calculation with money. decimal calls "half away from zero" ROUND_HALF_UP."""

# ISO 4217, list one, by digits of the minor unit.
_CODES: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC "
    "CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD "
    "KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO "
    "NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL "
    "THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_EXPONENTS: Final = {code: digits for digits, codes in _CODES.items() for code in codes.split()}


def exponent(currency: str) -> int:
    """Digits of the currency's minor unit: 2 for EUR, 0 for JPY, 3 for KWD.

    Raises CurrencyError for an unknown code.
    """
    try:
        return _EXPONENTS[currency]
    except KeyError:
        raise CurrencyError(
            f"{currency!r} is no currency of ISO 4217: write its three capital letters, such as EUR"
        ) from None


@cache
def _unit(currency: str) -> Decimal:
    return Decimal(1).scaleb(-exponent(currency))


def round_amount(amount: Decimal, currency: str) -> Decimal:
    """The amount as it stands on a line: half away from zero, with exactly the currency's digits, never minus zero.

    Raises CurrencyError.
    """
    rounded = amount.quantize(_unit(currency), context=CONTEXT)
    return rounded if rounded else _zero(currency)


def exact_sum(numbers: Iterable[Decimal]) -> Decimal:
    """The sum in CONTEXT: `sum` itself would cut a quantity of 60 digits to the 28 of decimal's default."""
    with localcontext(CONTEXT):
        return sum(numbers, Decimal(0))


@cache
def _zero(currency: str) -> Decimal:
    return Decimal(0).quantize(_unit(currency), context=CONTEXT)
