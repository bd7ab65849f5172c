"""A campaign that is being run: its ledger, the state folded from it, and the facts that are added to both."""

import platform
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from tuner.campaign import yaml_file
from tuner.campaign.agenda import next_step
from tuner.campaign.document import Document, differences
from tuner.campaign.faults import DocumentError
from tuner.campaign.fold import State
from tuner.campaign.folder import Folder
from tuner.campaign.ledger import FORMAT, Ledger, LedgerError, Listener, Record
from tuner.campaign.lock import Lock
from tuner.campaign.preflight import Facts
from tuner.campaign.run import Run
from tuner.campaign.study import Study
from tuner.campaign.trial import Decision, Trial, status_of
from tuner.campaign.warm_start import warm_start_of
from tuner.training.streams import seed_of

RECORDED_VERSIONS = ("torch", "torchvision", "ray", "optuna", "cmaes", "mlflow", "numpy", "scikit-learn", "pydantic")


@dataclass(frozen=True)
class Report:
    """What a worker hands over: some epochs of a trial, and how it stands behind the last of them."""

    trial: str
    attempt: int
    rows: Sequence[dict[str, Any]] = ()
    status: Literal["running", "interrupted", "diverged", "failed"] = "running"
    error: dict[str, str] | None = None
    notes: Sequence[str] = ()  # checkpoints that were passed over


@dataclass
class Campaign:
    """The one object that adds to the ledger; the searcher and the scheduler of Ray only speak through it."""

    folder: Folder
    ledger: Ledger
    state: State
    stopping: bool = field(default=False, init=False)
    obstacle: str | None = field(default=None, init=False)
    """Why a worker could not go on though nothing is wrong with its trial: no room for its checkpoint."""

    @classmethod
    def open(cls, document: Document, facts: Facts, lock: Lock | None = None) -> "Campaign":
        """Starts the campaign, or takes it up where its ledger ends.

        Args:
            document: the campaign's.
            facts: of its data.
            lock: on its ledger, and given back with the campaign; without one it is taken here.
        Raises:
            LedgerError: it is being run, its ledger is damaged or cannot be written, or it has trials of another
                document or of other data.
            DocumentError: it cannot begin with what it is to learn from.
        """
        folder = Folder(document.folder)
        ledger = Ledger(folder.ledger, lock)
        try:
            campaign = cls(folder, ledger, State.of(ledger.records))
            ledger.listen(campaign.state.apply)
            if campaign.state.trials:
                _refuse_other(campaign.state, document, facts, folder)
                if next_step(campaign.state, set()) != "done":
                    ledger.append({"kind": "resumed", **_circumstances(document)})
                campaign.state.document = _extended_so_far(campaign.state, document)
            else:
                ledger.append(_opened(document, facts))
            campaign._write_document()
            folder.stop_file.unlink(missing_ok=True)
            campaign._settle()
        except (LedgerError, DocumentError):
            ledger.close()
            raise
        return campaign

    def extend(self, document: Document) -> None:
        """Goes on with a document that asks for more trials, seeds or methods (`tuner.campaign.extension`)."""
        self.ledger.append({"kind": "extended", "document": document.as_yaml(), **_circumstances(document)})
        self._write_document()

    def _write_document(self) -> None:
        self.folder.document.write_text(yaml_file.dump(self.document.as_yaml()), encoding="utf-8")

    def close(self) -> None:
        self.ledger.close()

    def listen(self, listener: Listener) -> None:
        """Calls `listener(record)` for every fact from now on, once it is on the disk and in the state."""
        self.ledger.listen(listener)

    @property
    def document(self) -> Document:
        return self.state.document

    @property
    def facts(self) -> Facts:
        """What was known of the data when the campaign was opened."""
        return Facts(**self.state.opened["facts"])

    def run_of(self, trial: Trial) -> Run:
        """What a worker needs to train this trial."""
        document, final = self.document, trial.kind == "final"
        tuned = {name: trial.params[name] for name in ("lr", "weight_decay") if name in trial.params}
        return Run(
            dataset=document.dataset,
            split=document.split,
            model=document.model,
            method=trial.method,
            hyperparameters={**document.method(trial.method).fixed, **trial.hyperparameters},
            training=document.training.model_copy(update=tuned),
            seed=trial.seed,
            measure_on="test" if final else "validation",
            fit_on=document.final.fit_on if final else "train",
            select=document.final.select if final else "last",
        )

    def suggest_search(self, study: Study, number: int, params: dict[str, Any], attributes: dict[str, Any]) -> Trial:
        """Records a search trial. Its training seed depends on its number alone: the methods' studies share them."""
        seed = seed_of(self.document.search.replicate_seed(study.replicate), "search", number) % 2**31
        return self._suggest(f"{study.name}-{number:03d}", study, "search", number, seed, params, attributes)

    def suggest_final(self, study: Study, best: Trial | None, seed: int) -> Trial:
        """Records the refit of a study's best configuration with one of its final seeds."""
        number, params = (best.number, best.params) if best else (None, self.document.paper_setting(study.method))
        source = "paper" if best is None else f"{number:03d}"
        return self._suggest(f"{study.name}-final-{source}-seed{seed}", study, "final", number, seed, params, {})

    def _suggest(self, trial, study, kind, number, seed, params, attributes) -> Trial:
        self.ledger.append(
            {
                "kind": "suggested",
                "trial": trial,
                "method": study.method,
                "replicate": study.replicate,
                "trial_kind": kind,
                "number": number,
                "seed": seed,
                "params": params,
                "attributes": attributes,
            }
        )
        return self.state.trials[trial]

    def receive(self, report: Report) -> bool:
        """Records what a worker hands over; whether the trial goes on.

        Epochs that the ledger has are passed over (a worker that resumes from a checkpoint repeats them), and so is
        everything of an attempt that another one has replaced.
        """
        trial = self.state.trials[report.trial]
        if trial.ended or report.attempt < trial.attempt:
            return False
        if report.attempt > trial.attempt:
            notes = {"notes": list(report.notes)} if report.notes else {}
            self.ledger.append({"kind": "attempt", "trial": trial.id, "attempt": report.attempt, **notes})
        self._record_rows(trial, [row for row in report.rows if row["epoch"] > trial.epoch])
        if status := status_of(trial):
            self._end(trial, status)
        elif report.status == "interrupted":
            self.stopping = True  # whoever made the stop file: handing the trial out again would only meet it again
            if report.error and self.obstacle is None:
                self.obstacle = report.error["message"]
                self.stop()
        elif report.status in ("diverged", "failed"):
            self._end(trial, report.status, report.error)
        return report.status == "running" and not trial.ended

    def supersede(self, trial: Trial) -> None:
        """Ends a final trial of a configuration that is no longer the best."""
        self._end(trial, "superseded")

    def lost(self, trial: str, reason: str) -> None:
        """Ends a trial whose workers died again and again."""
        if not self.state.trials[trial].ended:
            self._end(self.state.trials[trial], "failed", {"class": "WorkerLost", "message": reason})

    def stop(self) -> None:
        """Asks running trials to save their position and return; nothing new is started."""
        self.stopping = True
        if self.ledger.ours:  # else it would stop the run that has taken the campaign over
            with suppress(OSError):  # a full disk may have no room for a name either; then nothing new is started
                self.folder.stop_file.touch()

    def _record_rows(self, trial: Trial, rows: list[dict[str, Any]]) -> None:
        """All rows with one write: workers hand over at every rung, so no decision here waits for an earlier row."""
        records: list[Record] = []
        for row in rows:
            if row["epoch"] != trial.epoch + len(records) + 1:
                raise LedgerError(f"{trial.id}: epoch {row['epoch']} came after {trial.epoch + len(records)}.")
            decision = self._judge(trial, row)
            records.append({"kind": "result", "trial": trial.id, "row": row, "decision": decision})
            if decision in ("stop", "complete"):
                break
        if records:
            self.ledger.append(*records)

    def _judge(self, trial: Trial, row: dict[str, Any]) -> Decision:
        epoch, search = row["epoch"], self.document.search
        if epoch == self.document.training.epochs:
            return "complete"
        if trial.kind == "final" or trial.pruned_at is not None:
            return "continue"
        rule = self.state.rules[trial.study]
        if epoch not in rule.epochs(trial.number) or rule.passes(trial.number, epoch, row[self.state.metric]):
            return "continue"
        return "audit" if seed_of(search.seed, "audit", trial.id) < search.audit * 2**63 else "stop"

    def _end(self, trial: Trial, status: str, error: dict[str, str] | None = None) -> None:
        self.ledger.append(
            {"kind": "ended", "trial": trial.id, "status": status, **({"error": error} if error else {})}
        )
        if trial.kind == "search":
            shutil.rmtree(self.folder.trial(trial.id), ignore_errors=True)
        elif status == "completed":
            for checkpoint in self.folder.trial(trial.id).glob("attempt-*/step-*.ckpt"):
                checkpoint.unlink(missing_ok=True)

    def _settle(self) -> None:
        """Ends the trials whose last decision was written, but whose end was not."""
        for trial in self.state.unended():
            if status := status_of(trial):
                self._end(trial, status)


def _opened(document: Document, facts: Facts) -> Record:
    return {
        "kind": "opened",
        "format": FORMAT,
        "document": document.as_yaml(),
        "facts": asdict(facts),
        "warm_start": warm_start_of(document),
        **_circumstances(document),
    }


def _circumstances(document: Document) -> Record:
    """What a driver runs with: results depend on it less than on the document, but more than nothing."""
    return {
        "resources": document.resources.model_dump(mode="json", exclude_none=True),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in RECORDED_VERSIONS}},
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The commit of this code, "+" behind it where files differ from it."""
    try:
        head = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "") if head.returncode == 0 else None


def _git(*arguments: str) -> subprocess.CompletedProcess:
    here = Path(__file__).parent
    return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, timeout=10)


def _extended_so_far(state: State, document: Document) -> Document:
    """The document, with what the campaign was extended by since."""
    now = state.document
    return document.model_copy(
        update={"methods": now.methods, "search": now.search, "final": now.final, "spaces": now.spaces}
    )


def _refuse_other(state: State, document: Document, facts: Facts, folder: Folder) -> None:
    lines = differences(state.document, document)
    # Whoever extended a campaign may go on with the file that it was started from.
    if lines and differences(Document.model_validate(state.opened["document"]), document):
        changed = "\n  ".join(lines)
        raise LedgerError(
            f'The campaign "{document.name}" was started with another document; it differs in (old -> new)\n'
            f"  {changed}\n"
            f"Nothing was changed. Give the new document another name, or restore the old one ({folder.document})."
        )
    recorded, now = state.opened["facts"], asdict(facts)
    changed = [name for name in now if name.endswith("digest") and recorded[name] != now[name]]
    if changed:
        raise LedgerError(
            f'The images of the campaign "{document.name}" are not those it was started with: {", ".join(changed)} '
            "changed. Nothing was changed here. Restore the data set, or give the document another name."
        )
