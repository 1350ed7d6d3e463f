"""The queue of the page's calls: what one visitor asks, reads or leaves unread does not hold up the others."""

import asyncio
import random
import time
import uuid
from typing import Any

import gradio as gr
from gradio.queueing import Event, Queue
from gradio.server_messages import EstimationMessage, EventMessage, ProcessCompletedMessage

EACH = 16  # calls of one session that have no answer yet
WAITING = 100  # calls of all sessions whose answer somebody waits for
UNREAD, PATIENCE = 100, 60.0  # calls whose answer nobody waits for, and the seconds that they are kept
SESSIONS = 64  # of which gradio keeps what they see: every input and answer, also of those that are long gone
TOO_MANY = f"This session has {EACH} calls without an answer: read these before you put another."
BUSY = f"The page is busy, {WAITING} calls wait: put this one again in a few seconds."
GIVEN_UP = f"Nobody read the answer within {PATIENCE:.0f} s, or too many answers were left unread: put the call again."


class Messages(asyncio.Queue[EventMessage]):
    """What one session is told, and whether its client is reading."""

    readers = 0

    async def get(self) -> EventMessage:
        self.readers += 1
        try:
            return await super().get()
        finally:
            self.readers -= 1


class CallQueue(Queue):
    """Gradio's queue with bounds.

    A call is computed once its client reads the stream of answers, which browsers and `gradio_client` do as soon as
    they have put it. So a call that nobody reads takes no time from the others, and its answer no memory.
    """

    def __init__(self, demo: gr.Blocks) -> None:
        super().__init__(True, demo.max_threads, 1, None, demo)
        self.sleep_when_free = 0.005  # it looks through the calls that wait each time
        self.order = random.Random()  # a thread of its own draws from it: the numbers of others stay as they are

    async def push(self, body: Any, request: Any, username: str | None) -> Any:
        """Take a call in, or refuse it in a sentence."""
        session = body.session_hash = body.session_hash or uuid.uuid4().hex
        if len(self.pending_event_ids_session.get(session, ())) >= EACH:
            return False, TOO_MANY, "queue_full"
        waiting = [event for each in self.event_queue_per_concurrency_id.values() for event in each.queue]
        unread = [event for event in waiting if not self._is_read(event)]
        if len(waiting) - len(unread) >= WAITING:
            return False, BUSY, "queue_full"
        if len(unread) >= UNREAD:
            self._give_up(min(unread, key=lambda event: event.enqueue_time))
        messages = self.pending_messages_per_session
        if session not in messages:
            messages[session] = Messages()
        messages.move_to_end(session)  # the oldest go first, which gradio counts from their first call
        for gone in self.pending_event_ids_session.keys() - messages.keys():
            del self.pending_event_ids_session[gone]
        return await super().push(body, request, username)

    def get_events(self) -> tuple[list[Event], bool, str] | None:
        """The next call to compute; no function of the page takes batches."""
        queues = list(self.event_queue_per_concurrency_id.items())
        self.order.shuffle(queues)
        now = time.monotonic()
        for name, queue in queues:
            for event in list(queue.queue):
                if not self._is_read(event):
                    if now - event.enqueue_time > PATIENCE:
                        self._give_up(event)
                elif queue.concurrency_limit is None or queue.current_concurrency < queue.concurrency_limit:
                    queue.queue.remove(event)
                    return [event], False, name
        return None

    def send_message(self, event: Event, event_message: EventMessage) -> None:
        """Tell a session something; nothing where it is gone, and no estimates where nobody reads them."""
        if event.session_hash not in self.pending_messages_per_session:
            return
        if not isinstance(event_message, EstimationMessage) or self._is_read(event):
            super().send_message(event, event_message)

    async def clean_events(self, *, session_hash: str | None = None, event_id: str | None = None) -> None:
        """Forget the calls of a client that is gone; gradio keeps its messages, and the ids of running calls."""
        await super().clean_events(session_hash=session_hash, event_id=event_id)
        if session_hash is not None:
            self.pending_event_ids_session.pop(session_hash, None)
            self.pending_messages_per_session.pop(session_hash, None)

    def compute_analytics_summary(self, records: Any) -> Any:
        """None: gradio tabulates up to 10,000 calls with pandas after each, for a page of statistics that is off."""
        return self.cached_event_analytics_summary

    def _is_read(self, event: Event) -> bool:
        messages = self.pending_messages_per_session.get(event.session_hash)
        return isinstance(messages, Messages) and messages.readers > 0

    def _give_up(self, event: Event) -> None:
        self.event_queue_per_concurrency_id[event.concurrency_id].queue.remove(event)
        self.event_ids_to_events.pop(event._id, None)
        self.send_message(event, ProcessCompletedMessage(output={"error": GIVEN_UP}, success=False))


def bound(demo: gr.Blocks) -> None:
    """Give a page the bounded queue, which no call goes round."""
    demo.queue(api_open=False)
    demo._queue = CallQueue(demo)
