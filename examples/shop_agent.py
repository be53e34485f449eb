"""A shop's agent, written in LangGraph: a model calls a tool, a model writes. It knows nothing of agenttts."""

import re
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

PRICES = {"tea": 3, "rice": 4, "milk": 2, "oil": 9}
CALL, TOTAL = rf"(\d+)\W+({'|'.join(PRICES)})", r"\d+"
"""What is looked for in a reply; a small model says it in words of its own."""


class State(TypedDict, total=False):
    order: str
    call: str
    result: str
    total: str


def build(planner: Any, writer: Any) -> Any:
    """The agent with the chat models that plan and write for it."""

    async def plan(state: State) -> State:
        return {"call": (await planner.ainvoke(f"Order: {state['order']}. Write 'Call: price(NUMBER, ITEM)'.")).content}

    def tool(state: State) -> State:
        number, item = [("0", "tea"), *re.findall(CALL, state["call"])][-1]
        return {"result": f"{int(number) * PRICES[item]} USD"}

    async def write(state: State) -> State:
        said = await writer.ainvoke(f"The order costs {state['result']}. Tell the customer; end with 'Total: ...'.")
        return {"total": f"{['?', *re.findall(TOTAL, said.content)][-1]} USD"}

    graph = StateGraph(State).add_sequence([plan, tool, write])
    return graph.add_edge(START, "plan").add_edge("write", END).compile()
