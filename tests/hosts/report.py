"""What the tests of hosts found out beside passing: seconds of playbooks, and what each fault cost."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Report:
    """Rows in the order in which they came, printed at the end of a test run."""

    plays: list[tuple[str, str, str, float]] = field(default_factory=list)  # hosts, command, recap, seconds
    faults: list[tuple[str, str, str, str]] = field(default_factory=list)  # fault, seconds to good, failed, process
    loads: list[tuple[str, str]] = field(default_factory=list)  # what was done, what the clients saw

    def tables(self) -> list[str]:
        """Every table that has rows, as lines."""
        lines: list[str] = []
        if self.plays:
            lines += ["", "playbook runs"]
            for hosts, command, recap, seconds in self.plays:
                lines.append(f"  {hosts:<16} {command:<26} {seconds:7.1f} s  {recap}")
        if self.loads:
            lines += ["", "under POST load with keep-alive through nginx"]
            lines += [f"  {what:<44} {seen}" for what, seen in self.loads]
        if self.faults:
            lines += ["", "faults: seconds until answers were good again, requests that failed meanwhile"]
            for fault, good, failed, process in self.faults:
                lines.append(f"  {fault:<24} {good:>8}  {failed:<44} {process}")
        return lines


REPORT = Report()
