"""Accept: turn each request record into jobs and move the cursor.

A record makes one group or more.
"""

from dataclasses import field
from functools import partial

from service.contract.request_decoder import DecodedRequest, RequestLimits, read_request
from service.core.job.request_record import Record
from service.core.shard.admission import Admission, AdmissionKind, AdmissionRules, admit
from service.errors import FailureCode, InvalidRecord
from service.frozen import dataclass
from service.pipeline.shard.fault_boundary import BACKOFF, MAX_FAULTS, Isolated, fault_text
from service.pipeline.shard.observer import BoundaryName, Observer
from service.pipeline.shard.shard_runner import ShardRunner
from service.pipeline.shard.stage_breaker import StageBreaker, StageName
from service.pipeline.shard.tracer import TracedStep, Tracer
from service.pipeline.submit import SubmitStage


@dataclass(slots=True)
class Fault:
    """The next record of a partition, after accepting it failed."""

    offset: int
    count: int = 0
    """Faults that count against the record."""
    failed: int = 0
    """All faults, also those that the stage is blamed for."""
    retry_at: float = 0.0
    request_id: str | None = None
    text: str = ""
    """The message of its failure record."""

    @property
    def is_given_up(self) -> bool:
        """Whether the record must be refused."""
        return self.count >= MAX_FAULTS

    def refused(self) -> InvalidRecord:
        """The error for its failure record."""
        return InvalidRecord(FailureCode.INTERNAL_ERROR, self.text, self.request_id)


@dataclass(slots=True)
class AcceptStage:
    """Takes records into their shard."""

    limits: RequestLimits
    rules: AdmissionRules
    submit: SubmitStage
    observer: Observer
    breaker: StageBreaker
    _faults: dict[int, Fault] = field(default_factory=dict)
    """By partition: the record that blocks it."""

    def accept(self, runner: ShardRunner, record: Record) -> bool:
        """Accept the next record; no record's content can block the records after it.

        False means that nothing has changed and the record must be delivered again after `wait_seconds`: our
        code failed on it, or the stage is stopped. The third fault turns it into one failure with its bytes.
        """
        if record.position.offset < runner.state.cursor.next_offset:
            return True
        if self.wait_seconds(runner) > 0:
            return False
        began_seconds = self.breaker.clock.boot_seconds()
        admission = self._admission(runner, record)
        if admission is None:
            return False
        self._faults.pop(runner.partition, None)
        runner.put(admission.change)
        self.submit.start_now(runner, admission.submissions)
        self.observer.admitted(admission)
        if runner.tracer is not None and admission.kind is AdmissionKind.ACCEPTED:
            _trace(runner.tracer, runner, record, began_seconds)
        return True

    def wait_seconds(self, runner: ShardRunner) -> float:
        """How long until the shard's next record may be tried.

        A failed record lets others go first.
        """
        fault = self._fault(runner)
        if fault is None:
            return self.breaker.wait_seconds(StageName.ACCEPT)
        backoff_seconds = fault.retry_at - self.breaker.clock.boot_seconds()
        return max(0.0, backoff_seconds, self.breaker.again_seconds(StageName.ACCEPT))

    def _fault(self, runner: ShardRunner) -> Fault | None:
        fault = self._faults.get(runner.partition)
        is_next = fault is not None and fault.offset >= runner.state.cursor.next_offset
        return fault if is_next else None

    def _admission(self, runner: ShardRunner, record: Record) -> Admission | None:
        """The record's admission; None if the record must be tried again."""
        fault = self._fault(runner)
        if fault is None or fault.offset != record.position.offset:
            fault = Fault(record.position.offset)
        was_given_up = fault.is_given_up
        admission: Admission | None = None
        with Isolated(partial(self._failed, runner, record, fault)):
            read = fault.refused() if was_given_up else self._read(record)
            fault.request_id = read.request_id if isinstance(read, InvalidRecord) else read.request.request_id
            admission = admit(runner.state, record, read, self.rules, runner.context())
        if admission is not None and not was_given_up:
            self.breaker.succeeded(StageName.ACCEPT)
        if admission is None and fault.is_given_up and not was_given_up:
            return self._admission(runner, record)
        return admission

    def _failed(self, runner: ShardRunner, record: Record, fault: Fault, error: Exception) -> None:
        """Count the fault.

        A record that cannot even be refused blocks only its own partition.

        Running out of memory is not the record's fault, and ends the process.
        """
        if isinstance(error, MemoryError):
            raise error
        self.observer.internal_error(BoundaryName.RECORD, record.origin_id, error)
        fault.count += self.breaker.failed(StageName.ACCEPT, record.origin_id)
        fault.failed += 1
        fault.text = fault_text(error)
        clock = self.breaker.clock
        fault.retry_at = clock.boot_seconds() + BACKOFF.wait_ms(fault.failed, clock.draw()) / 1000
        self._faults[runner.partition] = fault

    def _read(self, record: Record) -> DecodedRequest | InvalidRecord:
        if record.damage is not None:
            return InvalidRecord(FailureCode.INVALID_ENCODING, record.damage)
        try:
            return read_request(record.value, record.headers, self.limits)
        except InvalidRecord as error:
            return error


def _trace(tracer: Tracer, runner: ShardRunner, record: Record, began_seconds: float) -> None:
    request = runner.state.requests.get(runner.state.origin(record.position.offset))
    tracer.step(TracedStep.ACCEPT, [request] if request else [], began_seconds)
