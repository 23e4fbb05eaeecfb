"""The vendor's endpoints: submit, query, list, cancel, hotword lists and result files. Each turns one call
into one whole answer; what goes wrong on the way is not its matter.
"""

from dataclasses import replace
from typing import Final

from sandbox.simulator import listing
from sandbox.simulator.admission import ApiKey, admit, authorise, read_json
from sandbox.simulator.calls import Call
from sandbox.simulator.clock import vendor_time
from sandbox.simulator.families import Views, read_model, read_submission
from sandbox.simulator.file_tasks import metrics
from sandbox.simulator.forms import read_form
from sandbox.simulator.hotwords import SERVICE
from sandbox.simulator.ledger import SubmitEntry
from sandbox.simulator.models import FILE_MODELS
from sandbox.simulator.recording import Heard, Unusable
from sandbox.simulator.script import ScriptError
from sandbox.simulator.state import Engine, SimulatorState
from sandbox.simulator.tasks import DURING, Submission, Task, TaskFile
from sandbox.simulator.wire import ApiError, Reply, encode, invalid, json_reply, store_error

NO_PARAMETERS: Final = Unusable(
    "BadRequest.EmptyParameters", 'Required parameter "parameters" missing from request.'
)
NOT_PENDING: Final = "Failed to cancel the task, please confirm if the task is in PENDING status."


class Endpoints:
    """The vendor's side of each call, over one simulator's state."""

    def __init__(self, state: SimulatorState, engine: Engine) -> None:
        self._state = state
        self._engine = engine
        self._config = state.config
        self._views = Views(state.config, self._result_url)

    def submit(self, call: Call) -> Reply:
        """Accept a task: from here on it is billed."""
        api_key = self._authorise(call)
        if call.request.headers.get("x-dashscope-async") != "enable":
            raise ApiError(403, "AccessDenied", "current user api does not support synchronous calls.")
        payload = read_json(call.body)
        model = call.entry.model = read_model(payload, self._config)
        self._admit(call, model)
        resolves_oss = call.request.headers.get("x-dashscope-ossresourceresolve") == "enable"
        submission = read_submission(model, payload, self._config, resolves_oss=resolves_oss)
        task = self._accept(call, api_key, self._with_hotwords(api_key.account, submission))
        return json_reply(
            {"output": {"task_status": "PENDING", "task_id": task.task_id}}, task_id=task.task_id
        )

    def query(self, call: Call) -> Reply:
        """Show a task; one that the account cannot see (any more) is UNKNOWN with status 200."""
        self._authorise(call)
        self._admit(call)
        task_id = str(call.request.path_params["task_id"])
        task = self._visible(task_id, call.entry.account)
        if task is None:
            return json_reply({"output": {"task_id": task_id, "task_status": "UNKNOWN"}}, task_id=task_id)
        call.entry.model = task.submission.model
        return json_reply(self._shown(task), task_id=task_id)

    def list(self, call: Call) -> Reply:
        """One page of the account's tasks, newest first."""
        account = self._authorise(call).account
        self._admit(call)
        now = self._state.clock.now()
        asked = listing.read_filter(call.request.query_params, now, self._config)
        tasks = [
            task
            for task in self._state.tasks.of_account(account)
            if task.is_visible(now, self._config.retention_seconds)
        ]
        view = listing.RowView(
            self._config, lambda task: self._views.of(task).status(task, now), now, call.fault
        )
        return json_reply(listing.page(tasks, asked, view))

    def cancel(self, call: Call) -> Reply:
        """Cancel a task that still waits; any other, or an unknown one, is a 400."""
        self._authorise(call)
        self._admit(call)
        task_id = str(call.request.path_params["task_id"])
        task = self._visible(task_id, call.entry.account)
        now = self._state.clock.now()
        if task is None or task.state(now) != "PENDING":
            raise ApiError(400, "UnsupportedOperation", NOT_PENDING)
        task.cancelled_at = now
        return json_reply({}, task_id=task_id)

    def hotwords(self, call: Call) -> Reply:
        """One action on the account's hotword lists."""
        account = self._authorise(call).account
        if "x-dashscope-async" in call.request.headers:
            raise ApiError(403, "AccessDenied", "current user api does not support asynchronous calls.")
        payload = read_json(call.body)
        call.entry.model = SERVICE
        given = payload.get("input")
        call.entry.action = str(given.get("action"))[:40] if isinstance(given, dict) else None
        self._admit(call)
        return json_reply(self._state.hotwords.answer(account, payload))

    def policy(self, call: Call) -> Reply:
        """Leave to upload a file for one model."""
        account = self._authorise(call).account
        asked = call.request.query_params
        if asked.get("action") != "getPolicy" or not asked.get("model"):
            raise invalid("action must be getPolicy, with a model")
        call.entry.model = asked["model"]
        self._admit(call, asked["model"])
        return json_reply({"data": self._state.uploads.grant(account, asked["model"])})

    def upload(self, call: Call) -> Reply:
        """The object store's side: a form with a policy in it, and no key."""
        call.entry.leaked_key = self._carries_key(call)
        fields, content = read_form(call.body, call.request.headers.get("content-type", ""))
        return self._state.uploads.take(fields, content)

    def result(self, call: Call) -> Reply:
        """A result file, by its signed URL alone; the path must come as it was given, byte for byte."""
        raw_path = bytes(call.request.scope["raw_path"]).decode("latin-1").partition("?")[0]
        query = call.request.url.query
        call.entry.leaked_key = self._carries_key(call)
        found = self._state.tasks.by_result(raw_path.rpartition("/")[2])
        if found is None or found[0].result_path(found[1]) != raw_path:
            return store_error(404, "NoSuchKey", "The specified key does not exist.")
        task, file = found
        call.entry.task_id, call.entry.model = task.task_id, task.submission.model
        finding = self._state.signer.check(raw_path, query, self._state.clock.now())
        if finding == "expired":
            return store_error(403, "AccessDenied", "Request has expired.")
        if finding == "mismatch":
            return store_error(
                403, "SignatureDoesNotMatch", "The request signature we calculated does not match."
            )
        if finding == "unsigned" or not isinstance(file.outcome, Heard):
            return store_error(403, "AccessDenied", "You have no right to access this object.")
        document = self._views.of(task).document(task, file, file.outcome.recording())
        return Reply(200, encode(document), "application/json")

    def _authorise(self, call: Call) -> ApiKey:
        return authorise(call, self._config)

    def _admit(self, call: Call, model: str = "") -> None:
        admit(call, self._state, call.entry.kind, model)

    def _accept(self, call: Call, api_key: ApiKey, submission: Submission) -> Task:
        try:
            self._engine.check(submission)
        except ScriptError as error:
            raise invalid(str(error)) from error
        self._check_running(api_key.account, submission.model)
        now = self._state.clock.now()
        files = [
            self._file(api_key.account, submission, number) for number in range(len(submission.file_urls))
        ]
        task = Task(api_key.account, api_key.number, submission, now, files)
        self._state.tasks.add(task)
        call.submit = SubmitEntry(task, now, self._state.clock.wall())
        self._state.ledger.submits.append(call.submit)
        no_parameters = submission.parameters is None and self._config.missing_parameters == "fail"
        doom = submission.doom or (NO_PARAMETERS if no_parameters else None)
        if doom is not None:
            task.scheduled_at = task.ended_at = now
            task.failure = doom
        else:
            self._engine.begin(task)
        return task

    def _file(self, account: str, submission: Submission, index: int) -> TaskFile:
        """A file of a task; an uploaded one is read at once, so that its 48 hours may end while it waits."""
        file = TaskFile(index + 1, submission.file_urls[index])
        self._state.uploads.attach(file, account, submission.model)
        return file

    def _with_hotwords(self, account: str, submission: Submission) -> Submission:
        """The words are those of the moment of the submit; a list and an instant one are merged."""
        listed = self._state.hotwords.in_force(account, submission.model, submission.asked("vocabulary_id"))
        instant = submission.asked("vocabulary")
        sent = {word.casefold() for word in instant} if isinstance(instant, dict) else set()
        return replace(submission, hotwords=listed | sent)

    def _check_running(self, account: str, model: str) -> None:
        """Some models have a limit of tasks that have not ended; it is off when submits have no quota."""
        limit = FILE_MODELS[model].running_tasks
        if limit is None or self._config.submit_rpm is None:
            return
        now = self._state.clock.now()
        tasks = self._state.tasks.of_account(account)
        running = [task for task in tasks if task.submission.model == model and task.final_at(now) is None]
        if len(running) >= limit:
            raise ApiError(
                429, "Throttling.Concurrency", "Too many concurrent tasks, please try again later."
            )

    def _visible(self, task_id: str, account: str | None) -> Task | None:
        task = self._state.tasks.get(task_id)
        if task is None or task.account != account:
            return None
        return task if task.is_visible(self._state.clock.now(), self._config.retention_seconds) else None

    def _shown(self, task: Task) -> dict[str, object]:
        now = self._state.clock.now()
        view, zone = self._views.of(task), self._config.zone_hours
        status = view.status(task, now)
        output: dict[str, object] = {
            "task_id": task.task_id,
            "task_status": status,
            "submit_time": vendor_time(task.submitted_at, zone),
        }
        if task.scheduled_at is not None and now >= task.scheduled_at:
            output["scheduled_time"] = vendor_time(task.scheduled_at, zone)
        ended = task.final_at(now)
        if ended is not None:
            output["end_time"] = vendor_time(ended, zone)
        if status in DURING or status == "CANCELED":
            return {"output": {**output, "task_metrics": metrics(task, ended=False)}}
        fields, beside = view.ending(task)
        return {"output": {**output, **fields}, **beside}

    def _result_url(self, task: Task, file: TaskFile) -> str:
        """The same URL at every query: it expires with the clock, not with the asking."""
        path = task.result_path(file)
        expires = int((task.ended_at or 0.0) + self._config.result_url_seconds)
        return f"{self._state.origin}{path}?{self._state.signer.query_for(path, expires)}"

    def _carries_key(self, call: Call) -> bool:
        request = call.request
        told = " ".join([request.url.query, *request.headers.values()])
        return "authorization" in request.headers or any(key in told for key in self._config.api_keys)
