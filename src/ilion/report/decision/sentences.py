"""The statements of a decision in words, by their kind; a statement that is not said has none."""

from __future__ import annotations

from markupsafe import Markup

from ilion.report.decision.names import Plain, cell_name, design_name, share_text
from ilion.wording import Words


class Sayings:
    """Puts the statements of one decision into words.

    Args:
        plain: Content of ``decision.json``.
        words: The catalogue.
    """

    def __init__(self, plain: Plain, words: Words) -> None:
        self.plain, self.words = plain, words
        self.cells = {cell["name"]: cell for cell in plain["cells"]}
        self.designs = {design["name"]: design for design in plain["designs"]}

    def design(self, name: str) -> str:
        """Return what a design is called."""
        return design_name(name, self.words)

    def cell(self, name: str) -> str:
        """Return what a cell is called."""
        if name in self.cells and name != "all":
            return cell_name(self.cells[name], self.words)
        return self.words("cell.all") if name == "all" else name

    def listed(self, names: list[str]) -> str:
        """Return what several cells are called."""
        return self.words("cell.between").join(self.cell(name) for name in names)

    def of_100(self, share: float | None, otherwise: float = 0.0) -> str:
        """Write a share as a number of 100 searches: certain ones are not rounded up."""
        value = 100 * (otherwise if share is None else share)
        return self.words.number(min(value, 99) if value < 99.995 else value, 0)

    def points(self, gain: float | None, otherwise: float = 1.0, signed: bool = True) -> str:
        """Write a difference of shares in points."""
        value = 100 * (otherwise if gain is None else gain)
        sign = "−" if round(value) < 0 else ("+" if signed and round(value) > 0 else "")
        return f"{sign}{self.words.number(abs(value), 0)}"

    def span(self, estimate: Plain) -> dict[str, str]:
        """Return the ends of a share of searches as numbers of 100."""
        return {"low": self.of_100(estimate["low"]), "high": self.of_100(estimate["high"], 1)}

    def money(self, value: float) -> str:
        """Write an amount in the currency of the proof of concept."""
        return self.words.money(value, self.plain["money"]["currency"])

    def say(self, statement: Plain) -> Markup | None:
        """Return a statement in words; None where it is not said."""
        if not statement["said"]:
            return None
        made = getattr(self, f"_{statement['kind'].replace('-', '_')}")(statement["values"])
        assert isinstance(made, Markup)
        return made

    def _recommend(self, v: Plain) -> Markup:
        return self.words.rich(
            "say.recommend",
            design=self.design(v["design"]),
            against=self.design(v["against"]),
            first=self.of_100(v["first"]["value"]),
            before=self.of_100(v["before"]["value"]),
            **self.span(v["first"]),
        )

    def _stay(self, v: Plain) -> Markup:
        first = v["first"]
        return self.words.rich(
            "say.stay",
            design=self.design(v["design"]),
            count=len(v["rivals"]),
            first=self.of_100(first["value"]),
            **self.span(first),
        )

    def _plan(self, v: Plain) -> Markup:
        kind = {"few-objects": "few", "not-settled": "open", "not-run": "not_run"}[v["why"]]
        return self.words.rich(
            f"say.plan_{kind}", objects=v["objects"], **({} if kind == "not_run" else {"have": v["have"]})
        )

    def plan_width(self, v: Plain) -> Markup:
        """Say how well a gain would be known."""
        said = [self.words.rich("say.plan_width", width=self.points(v["width"], signed=False))]
        if v["have_width"] is not None:
            said.append(
                self.words.rich(
                    "say.plan_have", have=v["have"], have_width=self.points(v["have_width"], signed=False)
                )
            )
        return Markup(self.words.rules["between_sentences"]).join(said)

    def _change_share(self, v: Plain) -> Markup:
        share, percent = v["share"], self.words.percent
        return self.words.rich(
            "say.change_share",
            share=percent(share["value"]),
            low=percent(share["low"]),
            high=percent(share["high"]),
            size=share_text(v["size_below"], self.words),
            cheaper=self.design(v["cheaper"]),
            now=percent(v["share_now"]),
        )

    def _change_gain(self, v: Plain) -> Markup:
        gain, design = v["gain"], self.design(v["design"])
        if (gain["low"] or -1) > v["break_even"]:
            return self.words.rich(
                "say.change_gain_up", design=design, low=self.points(gain["low"], signed=False)
            )
        high = max(1.0 if gain["high"] is None else gain["high"], 0.0)
        return self.words.rich("say.change_gain_down", design=design, high=self.points(high, signed=False))

    def _fails_in(self, v: Plain) -> Markup:
        first = v["first"]
        return self.words.rich(
            "say.fails", cell=self.cell(v["cell"]), first=self.of_100(first["value"]), **self.span(first)
        )

    def _costs(self, v: Plain) -> Markup:
        said = {
            "design": self.design(v["design"]),
            "bytes": self.words.size(v["bytes_per_photo"]),
            "time": self.words.milliseconds(v["ms_per_search"]),
            "searched": self.words.integer(v.get("searched", self.plain["database"])),
        }
        if v["monthly_cost"] is None:
            return self.words.rich("say.costs", **said)
        priced = self.words.large(v["monthly_photos"])
        return self.words.rich("say.costs_money", **said, money=self.monthly(v), priced=priced)

    def monthly(self, v: Plain) -> str:
        """Return what a design costs a month: at most, where a search among so many was not measured."""
        if v["monthly_cost"] is None:
            return self.words("table.none")
        said = self.money(v["monthly_cost"])
        return self.words("page.at_most", value=said) if v["monthly_at_most"] else said

    def _next(self, v: Plain) -> Markup:
        of = {"count": v["objects"], "design": self.design(v["design"])}
        if "cell" not in v:
            return self.words.rich("say.next_dearer", **of)
        key = "say.next" if v["settles"] else "say.next_interval"
        return self.words.rich(key, **of, cell=self.cell(v["cell"]))

    def _equal_risk(self, v: Plain) -> Markup:
        span = {"low": self.points(v["gain"]["low"], -1), "high": self.points(v["gain"]["high"])}
        return self.words.rich(
            "say.equal_risk",
            risk=self.words.percent(v["risk"]),
            design=self.design(v["design"]),
            against=self.design(v["against"]),
            found=self.of_100(v["found"]["value"]),
            before=self.of_100(v["before"]["value"]),
            gain=self.points(v["gain"]["value"]),
            **span,
        )

    def _pays_in(self, v: Plain) -> Markup:
        said = []
        if "designs" in v:  # of a plan: what is settled already
            for cell, names in v["designs"].items():
                named = self.words.items(self.design(name) for name in names)
                if names:
                    said.append(self.words.rich("say.settled", design=named, cells=self.cell(cell)))
        for key, kind in (("cells", "pays_in"), ("not", "pays_not_in")):
            if "designs" not in v and v.get(key):
                said.append(
                    self.words.rich(f"say.{kind}", design=self.design(v["design"]), cells=self.listed(v[key]))
                )
        return Markup(self.words.rules["between_sentences"]).join(said)
