"""One training from start to finish: resumes from its last checkpoint, saves, evaluates on validation, proves its data.

<folder>/
  checkpoint/              the last saved state, and checkpoint-00000340/ … before it (training/checkpoint.py)
  best/ best-<task>/       the best weights on validation data (training/standing.py)
  log.jsonl tensorboard/   losses, speeds and validation scores (training/run_log.py)
  result.json              written when the training is finished (training/result.py)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vltool.config import TrainingConfig
from vltool.engines.processes import ALONE, Processes
from vltool.errors import CheckpointError, ConfigError, Interrupted
from vltool.models.joint_model import JointModel
from vltool.models.precision import resolve_precision
from vltool.splits.trained_ids import TrainedIds
from vltool.structures import Batch
from vltool.tasks.prepare import PreparedTasks, image_ids_of
from vltool.tasks.task import Scores
from vltool.training import checkpoint
from vltool.training.compiled import compile_loss
from vltool.training.identity import checkpoint_facts, differences, run_identity
from vltool.training.inherit import inherit_weights
from vltool.training.inputs import RunInputs, pick_device
from vltool.training.joint import train_jointly
from vltool.training.loader import TaskBatches, check_batch_size
from vltool.training.lock import only_process_in
from vltool.training.memory import explaining_memory
from vltool.training.meters import dump_meters, load_meters
from vltool.training.rates import optimizer_of
from vltool.training.result import TrainingResult, read_result, write_result
from vltool.training.run_log import RunLog
from vltool.training.schedule import JointPlan
from vltool.training.standing import Standing
from vltool.training.stop_and_go import StopAndGo, TaskPace, check_validation
from vltool.training.update import Updater

Report = Callable[[dict[str, Any]], None]
Stop = Callable[[], bool]


class _AskedToStop(Exception):
    """Somebody wants the training to stop; everything is as after the last update."""


def train(
    inputs: RunInputs,
    plan: JointPlan,
    folder: Path,
    *,
    report: Report | None = None,
    stop: Stop | None = None,
    processes: Processes = ALONE,
) -> TrainingResult:
    """Train by `plan` in `folder`, going on from its last checkpoint; a finished training returns at once.

    report: called with every line of the log, with {"kind": "update"} after every update, and once with "finished",
    "resumed" or "inherited". stop: asked after every update; when it says yes, the state is saved and Interrupted
    raised. processes: all of them must call this with the same arguments. Raises ConfigError for a batch that is
    larger than a task's training data, StoreError or CheckpointError if the folder belongs to another run,
    TrainingError if numbers stop being finite or memory runs out, SplitError if test data would steer it.
    """
    say = report or (lambda line: None)
    check_settings(inputs.config.training)
    check_batches(inputs.prepared, plan, where=inputs.config.training.plan)
    if inputs.config.training.stop_and_go:
        own = {task.task: inputs.prepared.examples[task.task] for task in plan.tasks}
        check_validation(own, protocol=inputs.config.splits.protocol)
    with only_process_in(folder) if processes.is_first else nullcontext():
        if processes.is_first:
            checkpoint.recover(folder / "checkpoint")
        processes.wait()
        identity = run_identity(inputs, plan)
        if (finished := _finished(folder, identity)) is not None:
            say({"kind": "finished"})
            return finished
        training = _Training(inputs, plan, folder, identity, say, stop or (lambda: False), processes)
        return training.run()


def _finished(folder: Path, identity: dict[str, Any]) -> TrainingResult | None:
    """The result of a training whose last checkpoint is there, too: one that was removed is made again."""
    result, place = read_result(folder, identity), folder / "checkpoint"
    if result is None or not place.exists():
        return None
    return result if checkpoint.load(place, resuming=True).run["num_updates"] == result.num_updates else None


def check_settings(settings: TrainingConfig) -> None:
    """Raises ConfigError for values that cannot be, and for a precision that the device does not have."""
    for name in ("accumulate", "keep_last", "checkpoint_every"):
        if getattr(settings, name) < 1:
            raise ConfigError(f"training.{name} is {getattr(settings, name)}, it must be at least 1")
    if settings.patience < 0:
        raise ConfigError(f"training.patience is {settings.patience}. Give a number of evaluations, or 0 for never")
    if settings.patience and not settings.evaluate_every:
        raise ConfigError("training.patience counts evaluations, and there are none. Set training.evaluate_every too")
    resolve_precision(settings.precision, pick_device(settings.device))


def check_batches(prepared: PreparedTasks, plan: JointPlan, *, where: str) -> None:
    """Raises ConfigError for a batch that is larger than a task's training data, DataError where there is none."""
    for task in plan.tasks:
        check_batch_size(task.task, task.batch_size, len(prepared.examples[task.task]["train"]), where=where)


class _Training:
    """A training under way. cycle: the first one that is not closed; a checkpoint may lie within it."""

    def __init__(
        self,
        inputs: RunInputs,
        plan: JointPlan,
        folder: Path,
        identity: dict[str, Any],
        say: Report,
        stop: Stop,
        processes: Processes,
    ):
        self.inputs, self.folder, self.identity = inputs, folder, identity
        self.say, self.stop, self.processes = say, stop, processes
        self.settings = inputs.config.training
        self.names = [task.task for task in plan.tasks]
        sizes = {name: len(inputs.prepared.examples[name]["train"]) for name in self.names}
        self.plan = replace(plan, sampling=self.settings.sampling, sizes=sizes, seed=inputs.config.seed)
        self.stop_and_go = StopAndGo(
            {task.task: sizes[task.task] // task.batch_size for task in plan.tasks},
            num_turns=self.plan.updates_before(),
            rules=self.settings.stop_and_go,
        )
        with explaining_memory("when the network is built", "Lower the encoder's width or levels"):
            model = inputs.model(
                {task.task: task.level for task in plan.tasks},
                seed=inputs.config.seed,
                say=lambda text: say({"kind": "first_weights", "text": text}),
            )
            self.updater = self._new_updater(model.to(pick_device(self.settings.device)))
        self.cycle, self.standing, self.meters = 0, Standing(), load_meters({}, self.names)
        self.seconds_before = self.waited_before = 0.0
        self._resume_or_inherit()
        processes.share_weights(model)
        self.started = self.mark = time.perf_counter()
        self.waited = dict.fromkeys(self.names, 0.0)
        self.batches: dict[str, TaskBatches] = {}
        self.log: RunLog | None = None

    def _new_updater(self, model: JointModel) -> Updater:
        settings, device = self.settings, pick_device(self.settings.device)
        return Updater(
            model,
            optimizer_of(model, settings, step_size=self.plan.step_size, num_turns=self.plan.updates_before()),
            gradient_clip=settings.gradient_clip,
            precision=resolve_precision(settings.precision, device),
            device=device,
            seed=self.inputs.config.seed,
            accumulate=settings.accumulate,
            processes=self.processes,
            loss=compile_loss(model) if settings.compile else None,
        )

    def run(self) -> TrainingResult:
        """Algorithm 1 from where it stands, then the scores of the final weights."""
        skip = self.updater.num_turns - self.plan.updates_before(self.cycle)
        with ThreadPoolExecutor(1) as pool, self._open_log() or nullcontext() as self.log:
            self.batches = {name: self._batches(name, pool) for name in self.names}
            try:
                if not self._has_lost_patience():
                    train_jointly(
                        self.plan,
                        batches=self.batches,
                        update=self._update,
                        after_cycle=self._after_cycle,
                        takes_turn=self._takes_turn,
                        start_cycle=self.cycle,
                        skip=skip,
                    )
                val = self._final_scores()
            except _AskedToStop:
                self._save()
                raise Interrupted(
                    f"stopped after update {self.updater.num_updates:,} of {self.plan.updates_before():,}, saved in "
                    f"{self.folder / 'checkpoint'}. Run the same command again to go on from there"
                ) from None
        seconds, waited = self._time_spent()
        best = self.standing.best if self.settings.evaluate_every else {}
        result = TrainingResult(self.folder, val, self.updater.num_updates, seconds, waited, best)
        if self.processes.is_first:
            write_result(result, self.identity)
        return result

    def _batches(self, name: str, pool: ThreadPoolExecutor) -> TaskBatches:
        return TaskBatches(
            self.inputs.prepared.tasks[name],
            self.inputs.prepared.examples[name]["train"],
            self.inputs.batching(),
            batch_size=next(task.batch_size for task in self.plan.tasks if task.task == name),
            seed=self.inputs.config.seed,
            start=self.stop_and_go.paces[name].made,
            pool=pool,
            processes=self.processes,
        )

    def _takes_turn(self, name: str) -> bool:
        takes = self.stop_and_go.takes_turn(name)
        if not takes:
            self.updater.pass_turn()
        return takes

    def _update(self, name: str, batch: Batch) -> None:
        task = self.inputs.config.tasks[name]
        step = self.updater.update(
            self.inputs.prepared.tasks[name], batch, weight=task.loss_weight, rate=task.learning_rate
        )
        now, waited = time.perf_counter(), self.batches[name].waited
        self.meters[name].take(
            step, num_examples=batch.num_examples, seconds=now - self.mark, waited=waited - self.waited[name]
        )
        self.mark, self.waited[name] = now, waited
        self.say(
            {"kind": "update", "update": self.updater.num_updates, "task": name, "loss": step.loss}
            | {"num_examples": batch.num_examples, "turn": self.updater.num_turns}
        )
        self._leave_if_asked()

    def _after_cycle(self, cycle: int) -> bool:
        for name, meter in self.meters.items():
            if meter.losses:
                self._note("loss", cycle, {"task": name, "learning_rate": self._rate_of(name), **meter.line()})
        last = cycle == self.plan.num_cycles - 1
        if not last:
            self._score_where_due(cycle)
        self.cycle, self.meters = cycle + 1, load_meters({}, self.names)
        enough = self._has_lost_patience()
        if last or enough or (cycle + 1) % self.settings.checkpoint_every == 0:
            self._save()
        self.mark = time.perf_counter()
        return enough

    def _rate_of(self, name: str) -> float:
        return self.updater.optimizer.learning_rate(
            self.updater.num_turns, self.inputs.config.tasks[name].learning_rate
        )

    def _score_where_due(self, cycle: int) -> None:
        """All tasks if it is time to, and those that stop-and-go asks for; nothing is taken until all are scored."""
        everyone = self.settings.evaluate_every > 0 and (cycle + 1) % self.settings.evaluate_every == 0
        due = self.stop_and_go.due()
        scores = self._score([name for name in self.names if everyone or name in due])
        if everyone:
            self._take(cycle, scores)
        main = {name: scores[name][self.inputs.prepared.tasks[name].main_metric] for name in due}
        for name, is_at_rest in self.stop_and_go.take(main).items() if due else ():
            self._note("stop_and_go", cycle, {"task": name, "score": main[name], "is_at_rest": is_at_rest})
        self.stop_and_go.reset_if_time()

    def _final_scores(self) -> dict[str, Scores]:
        if not self.standing.has_scored(self.updater.num_updates):
            self._take(self.cycle - 1, self._score(self.names))
        return self.standing.latest

    def _score(self, names: list[str]) -> dict[str, Scores]:
        """Scores of the weights on validation data, of those tasks that have any."""
        found = {}
        alone = self.processes.size == 1
        for name in names:
            if self.inputs.prepared.examples[name]["val"] or not self.inputs.may_lack_val:
                progress = (lambda done, total: self._leave_if_asked()) if alone else None
                found[name] = self.inputs.evaluate(
                    self.updater.model, name, "val", progress=progress, processes=self.processes
                ).scores
                self._leave_if_asked()
        return found

    def _take(self, cycle: int, found: dict[str, Scores]) -> None:
        """Note the scores of all tasks, and keep the weights if they are the best so far."""
        if not found:
            return
        for name, scores in found.items():
            met = self._contaminated_val[name]
            mark = {"contaminated": met} if met else {}  # pictures: these scores are no test of anything unseen
            self._note("scores", cycle, {"task": name, "split": "val", "scores": scores, **mark})
        improved = self.standing.take(
            self.updater.num_updates,
            found,
            {name: self.inputs.prepared.tasks[name].main_metric for name in found},
            patient=len(self.plan.joined_by(cycle)) == len(self.plan.tasks),
        )
        if self.settings.evaluate_every and self.processes.is_first:
            for name in improved:
                run = {**self._facts, "num_updates": self.updater.num_updates, "cycle": cycle + 1, "scores": found}
                checkpoint.save(self.folder / name, self.updater.model, run, optimizer=None)

    def _has_lost_patience(self) -> bool:
        return 0 < self.settings.patience <= self.standing.num_worse

    def _leave_if_asked(self) -> None:
        if self.processes.any(self.stop()):
            raise _AskedToStop

    def _note(self, kind: str, cycle: int, values: dict[str, Any]) -> None:
        if self.log is not None:
            self.say(self.log.write(kind, update=self.updater.num_updates, cycle=cycle, **values))

    # What a checkpoint holds.

    @cached_property
    def _facts(self) -> dict[str, Any]:
        return {"identity": self.identity, **checkpoint_facts(self.inputs, self.plan)}

    @cached_property
    def _contaminated_val(self) -> dict[str, int]:
        """task → how many pictures of its val set train this model, or trained one that it started from."""
        trained, examples = TrainedIds.from_json(self._facts["trained_ids"]), self.inputs.prepared.examples
        return {name: len(trained.meets(image_ids_of(examples[name]["val"]))) for name in self.names}

    def _save(self) -> None:
        if not self.processes.is_first:
            return
        seconds, waited = self._time_spent()
        run = {
            **self._facts,
            "cycle": self.cycle,
            "num_updates": self.updater.num_updates,
            "meters": dump_meters(self.meters),
            "standing": self.standing.dump(),
            "stop_and_go": self.stop_and_go.dump(),
            "scaler": self.updater.scaler.state_dict(),
            "processes": self.processes.size,
            "seconds": seconds,
            "seconds_waiting": waited,
        }
        checkpoint.save(
            self.folder / "checkpoint",
            self.updater.model,
            run,
            optimizer=self.updater.optimizer.inner,
            keep_last=self.settings.keep_last,
        )

    def _resume_or_inherit(self) -> None:
        if (self.folder / "checkpoint").exists():
            self._resume(checkpoint.load(self.folder / "checkpoint", resuming=True))
        elif self.settings.init_from:
            taken, left = inherit_weights(self.inputs, self.updater.model)
            self.say({"kind": "inherited", "from": self.settings.init_from, "tensors": taken, "left": left})

    def _resume(self, saved: checkpoint.Checkpoint) -> None:
        different = differences(self.identity, saved.run.get("identity", {}))
        if different:
            raise CheckpointError(
                f"{self.folder}: holds the checkpoint of another training (its {', '.join(different)} differ). "
                "Give this run another `out`, or remove that folder"
            )
        saved.load_model(self.updater.model)
        saved.load_optimizer(self.updater.optimizer.inner)
        run = saved.run
        self.cycle, self.updater.num_updates = saved.cycle, int(run["num_updates"])
        if "stop_and_go" in run:
            self.stop_and_go.load(run["stop_and_go"])
        else:  # saved when no update of a plan could be left out
            skip = self.updater.num_updates - self.plan.updates_before(self.cycle)
            done = {name: self.plan.updates_of(name, before_cycle=self.cycle, skip=skip) for name in self.names}
            self.stop_and_go.paces = {name: TaskPace(count, count) for name, count in done.items()}
        self.updater.num_turns = sum(pace.turns for pace in self.stop_and_go.paces.values())
        self._check_place(saved.path)
        self.standing = Standing(**run.get("standing", {}))
        self.meters = load_meters(run.get("meters", {}), self.names)
        self.updater.scaler.load_state_dict(run.get("scaler", {}))
        self.seconds_before, self.waited_before = run.get("seconds", 0.0), run.get("seconds_waiting", 0.0)
        before = int(run.get("processes", 1))
        line = {"kind": "resumed", "cycle": self.cycle, "update": self.updater.num_updates}
        self.say(line | ({"processes_before": before} if before != self.processes.size else {}))

    def _check_place(self, path: Path) -> None:
        """Raises CheckpointError where cycle and turns contradict each other or the plan, as after a change by hand."""
        turns, cycles = self.updater.num_turns, self.plan.num_cycles
        first, end = (self.plan.updates_before(cycle) for cycle in (self.cycle, min(self.cycle + 1, cycles)))
        if self.cycle > cycles or not first <= turns <= end or set(self.stop_and_go.paces) != set(self.names):
            raise CheckpointError(
                f"{path / 'run.json'}: cycle {self.cycle} of {cycles} and the turns of stop_and_go ({turns} of "
                f"{self.plan.updates_before()}) do not fit each other and the plan. {checkpoint.GO_ON}"
            )

    def _open_log(self) -> RunLog | None:
        """The log without what a stopped run wrote after the checkpoint: later cycles, and scores it does not know."""
        if not self.processes.is_first:
            return None
        start, scored = self.cycle, self.standing.latest_update
        at_end = start == self.plan.num_cycles  # the last scores come after the last checkpoint, and so come again

        def keep(line: dict[str, Any]) -> bool:
            return line["cycle"] < start and not (at_end and line["kind"] == "scores" and line["update"] > scored)

        return RunLog(self.folder, keep=keep)

    def _time_spent(self) -> tuple[float, float]:
        waited = sum(found.waited for found in self.batches.values())
        return self.seconds_before + time.perf_counter() - self.started, self.waited_before + waited
