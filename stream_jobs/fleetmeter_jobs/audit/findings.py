"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about what is there, and one about what to do. A note is nothing wrong, but nothing to overlook."""

    sentence: str
    advice: str = ""
    is_problem: bool = True

    def __str__(self) -> str:
        return f"{self.sentence} {self.advice}".strip()


@dataclass(frozen=True, slots=True)
class Checked:
    """One check: what was compared, how much of it, and what was found."""

    name: str
    examined: str
    """What was looked at, in words and numbers."""
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.is_problem for finding in self.findings)

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "check": self.name,
            "ok": self.ok,
            "examined": self.examined,
            "problems": [str(finding) for finding in self.findings if finding.is_problem],
            "notes": [str(finding) for finding in self.findings if not finding.is_problem],
        }
