"""Answers of several methods to several questions, decoded together."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, cast

from rewardshift.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rewardshift.decoder import Decoder
    from rewardshift.methods import Answer, Method, Question
    from rewardshift.results import Completion, Work

_PAUSE = 0.01
"""Seconds to wait for what methods ask next where nothing is being decoded."""


def answered_together(decoder: Decoder, asked: Sequence[tuple[Method, Question]]) -> list[Answer]:
    """What ``method.answer(decoder, question)`` gives for each, in less time.

    Each method runs in a thread of its own, before a decoder that puts all their requests into the
    batches of one. Laws and seeds are those of answers one by one. What an answer took is not
    known then: its seconds and the models' work are those of all that was decoded meanwhile.

    Args:
        decoder: Whose models to use; it has no other request under way.
        asked: Methods that ask for completions, scores and prompts, and what they are to answer.
    """
    shared = _Shared(decoder)
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = [
            pool.submit(method.answer, cast("Decoder", shared), question)
            for method, question in asked
        ]
        shared.serve(lambda: all(answer.done() for answer in answers))
    return [answer.result() for answer in answers]


class _Shared:
    """A decoder as methods see it, each in its thread; ``serve`` does what they ask for."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._calls: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._under_way: dict[int, Future[Completion]] = {}

    # --- what methods ask for ---------------------------------------------------------------

    @property
    def work(self) -> dict[str, Work]:
        return dict(self._called(lambda: self._decoder.work))

    def chat_prompts(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - the decoder's
        return self._called(lambda: self._decoder.chat_prompts(*args, **options))

    def score(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - likewise
        return self._called(lambda: self._decoder.score(*args, **options))

    def generate(self, prompt: Any, **options: Any) -> Completion:  # noqa: ANN401 - likewise
        return self._requested([prompt], options)[0]

    def generate_batch(self, prompts: Sequence[Any], **options: Any) -> list[Completion]:  # noqa: ANN401
        return self._requested(prompts, options)

    def _requested(self, prompts: Sequence[Any], options: dict[str, Any]) -> list[Completion]:
        def submit() -> list[Future[Completion]]:
            futures = []
            for substream, prompt in enumerate(prompts):
                request = self._decoder.submit(prompt, **{**options, "substream": substream})
                self._under_way[request] = Future()
                futures.append(self._under_way[request])
            return futures

        return [future.result() for future in self._called(submit)]

    def _called(self, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - what it returns
        future: Future[Any] = Future()
        self._calls.put((call, future))
        return future.result()

    # --- who does it ------------------------------------------------------------------------

    def serve(self, is_over: Callable[[], bool]) -> None:
        """Does what is asked for, and decodes, in the thread that may use the decoder."""
        failure: BaseException = Error("the other answers failed")
        try:
            while not is_over():
                self._answer_calls()
                for chunk in self._decoder.step():
                    if chunk.completion is not None:
                        self._under_way.pop(chunk.id).set_result(chunk.completion)
                    elif chunk.error is not None:
                        self._under_way.pop(chunk.id).set_exception(Error(chunk.error))
        except BaseException as error:
            failure = error
            raise
        finally:  # nobody waits for ever
            for future in self._under_way.values():
                future.set_exception(failure)
            while not is_over():
                self._answer_calls(failure)

    def _answer_calls(self, failure: BaseException | None = None) -> None:
        """All that are waiting; where nothing is decoded meanwhile, the next one."""
        wait = _PAUSE if failure is not None or not self._under_way else 0.0
        while True:
            try:
                call, future = self._calls.get(timeout=wait) if wait else self._calls.get_nowait()
            except Empty:
                return
            wait = 0.0
            if failure is not None:
                future.set_exception(failure)
                continue
            try:
                future.set_result(call())
            except Exception as error:  # noqa: BLE001 - it is the caller's
                future.set_exception(error)
