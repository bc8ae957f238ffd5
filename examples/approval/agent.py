"""A small agent that drafts a notice, asks a person, revises until it is approved, and publishes it.

Start it, close the terminal, answer tomorrow. Nothing runs in between.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

import kitaru

OUT = Path("published")


class Review(BaseModel):
    """The form that the reviewer fills in. Its JSON schema is what `list` shows."""

    decision: Literal["approve", "revise", "reject"]
    comment: str = Field(default="", max_length=500, description="What to change, or why not.")


@kitaru.checkpoint
def draft(topic: str) -> str:
    """The first draft. A real agent would ask a model here; this one needs no network."""
    return f"# {topic}\n\nThere is news about {topic}."


@kitaru.checkpoint
def revise(text: str, comment: str) -> str:
    """The next draft. It works the comment in, more faithfully than well."""
    return f"{text}\n\nAdded in review: {comment}"


@kitaru.checkpoint(cache=False)  # each agent writes its own file, whatever an earlier one wrote
def publish(text: str, folder: str, name: str) -> str:
    """Write the notice, once. The name is the execution's: a repetition after a crash does no harm."""
    path = Path(folder) / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
    return str(path)


@kitaru.flow
def notice(topic: str, folder: str) -> str:
    """Draft, ask, revise, ask again. Each turn of the loop is a wait of its own, because the draft is part of it."""
    text = draft(topic)
    while True:
        review: Review = kitaru.wait(
            "review", question=f"Publish the notice about {topic}?", schema=Review, metadata={"draft": text}
        )
        if review.decision == "approve":
            return publish(text, folder, kitaru.current_execution_id())
        if review.decision == "reject":
            return f"rejected: {review.comment}"
        text = revise(text, review.comment)


def start(topic: str, folder: Path) -> int:
    """Start an agent, and say how to answer it."""
    handle = notice.run(topic, str(folder.absolute()))
    # The process waits for the flow at its end; a flow that waits for a person has left it by then.
    print(f"Started {handle.exec_id}. Its question will be in `agent.py list`.")
    return 0


def show() -> int:
    """Print the open questions, with what is being asked about."""
    waits = kitaru.KitaruClient().executions.pending_waits(flow="notice")
    for wait in waits:
        print(f"{wait.exec_id} {wait.wait_id}: {wait.question}")
        for line in str((wait.metadata or {}).get("draft", "")).splitlines():
            print(f"    {line}")
    if not waits:
        print("Nobody is asked anything.")
    return 0


def answer(exec_id: str, decision: str, comment: str) -> int:
    """Answer the open question of an agent. It goes on in this process until it asks again or is finished."""
    executions = kitaru.KitaruClient().executions
    try:
        seen = max(event.event_id for event in executions.events(exec_id))
        executions.input(exec_id, {"decision": decision, "comment": comment})
    except kitaru.KitaruWaitValidationError as error:
        print(f"{error}\nThe form:", json.dumps(Review.model_json_schema()["properties"], indent=2), file=sys.stderr)
        return 1
    except (kitaru.KitaruStateError, kitaru.KitaruNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    # Follow it to its end or to its next question, whichever process goes on with it.
    for event in executions.events(exec_id, after=seen, follow=True):
        if event.kind is kitaru.EventKind.WAITING:
            print("It has revised the draft, and asks again. See `agent.py list`.")
            return 0
    print(executions.handle(exec_id).get())
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("start", help="start an agent")
    starting.add_argument("topic")
    starting.add_argument("--out", type=Path, default=OUT, help="folder of published notices")
    commands.add_parser("list", help="show open questions")
    answering = commands.add_parser("answer", help="answer a question")
    answering.add_argument("exec_id", metavar="ID", help="the execution, or the beginning of its id")
    answering.add_argument("decision", help="approve, revise or reject")
    answering.add_argument("comment", nargs="?", default="")
    given = parser.parse_args(arguments)
    if given.command == "start":
        return start(given.topic, given.out)
    if given.command == "list":
        return show()
    return answer(given.exec_id, given.decision, given.comment)


if __name__ == "__main__":
    sys.exit(main())
