# ruff: noqa: E501  (a row is easier to compare on long lines)
"""Every kind of change to a user's code is seen, and what does the same is the same.

A row is a module that defines `parse`, with «old|new» where it changes; further files follow `# file: NAME`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agenttts._util.checks import is_async
from agenttts.pipeline import Model, Pipeline, Subtask
from agenttts.pipeline.fingerprint import describe, uncovered

_CHANGE = re.compile(r"«(.*?)\|(.*?)»", re.S)
_FILE = re.compile(r"^# file: (\S+)$", re.M)

CHANGES = {
    "the body": "def parse(s, g): return s.«strip|lower»()",
    "the docstring": 'def parse(s, g):\n    """«One|Two»."""\n    return s',
    "a default": "N = «1|2»\ndef parse(s, g, n=N): return s[:n]",
    "a keyword-only default": "N = «1|2»\ndef parse(s, g, *, n=N): return s[:n]",
    "an async function": "async def parse(s, g): return «1|2»",
    "an attribute of the function": "def parse(s, g): return s[:parse.limit]\nparse.limit = «3|4»",
    "a docstring set later": "def parse(s, g): return s\nparse.__doc__ = '«one|two»'",
    "a global": "N = «1|2»\ndef parse(s, g): return s[:N]",
    "the type of a number": "N = «1|1.0»\ndef parse(s, g): return s * N",
    "true for one": "N = «1|True»\ndef parse(s, g): return str(N)",
    "a list for a tuple": "N = «[1, 2]|(1, 2)»\ndef parse(s, g): return str(N)",
    "the order of a mapping": "N = {«'a': 1, 'b': 2|'b': 2, 'a': 1»}\ndef parse(s, g): return str(N)",
    "a global with a dunder name": "__prompt__ = '«a|b»'\ndef parse(s, g): return __prompt__",
    "the module's docstring": "'''«a|b»'''\ndef parse(s, g): return __doc__",
    "a global of a generator": "N = «1|2»\ndef parse(s, g): return list(c * N for c in s)",
    "a global of a nested function": "N = «1|2»\ndef parse(s, g):\n    def inner(): return N\n    return inner()",
    "a global read in a class body": (
        "N = «1|2»\ndef parse(s, g):\n    class Local:\n        n = N\n    return Local.n"
    ),
    "a global class attribute": "N = «1|2»\nclass C:\n    n = N\ndef parse(s, g): return C.n",
    "a class attribute set later": "class C: pass\nC.n = «1|2»\ndef parse(s, g): return C.n",
    "a base class": "class A:\n    def f(self): return «1|2»\nclass B(A): pass\ndef parse(s, g): return B().f()",
    "a property": "class A:\n    @property\n    def f(self): return «1|2»\ndef parse(s, g): return A().f",
    "a cached property": (
        "from functools import cached_property\nclass A:\n    @cached_property\n    def f(self): return «1|2»\n"
        "def parse(s, g): return A().f"
    ),
    "a class method": "class A:\n    @classmethod\n    def f(cls): return «1|2»\ndef parse(s, g): return A.f()",
    "a static method": "class A:\n    @staticmethod\n    def f(): return «1|2»\ndef parse(s, g): return A.f()",
    "a metaclass": (
        "class M(type):\n    def __call__(cls): return «1|2»\nclass A(metaclass=M): pass\ndef parse(s, g): return A()"
    ),
    "a global of a method": "N = «1|2»\nclass A:\n    def f(self): return N\ndef parse(s, g): return A().f()",
    "a descriptor": (
        "class D:\n    def __init__(self, n): self.n = n\n    def __get__(self, obj, kind): return self.n\n"
        "class A:\n    n = D(«1|2»)\ndef parse(s, g): return A.n"
    ),
    "a callable object": (
        "class P:\n    def __init__(self, n): self.n = n\n    def __call__(self, s, g): return s[:self.n]\nparse = P(«1|2»)"
    ),
    "the call of an object": "class P:\n    def __call__(self, s, g): return «1|2»\nparse = P()",
    "a bound method": (
        "class P:\n    def __init__(self, n): self.n = n\n    def parse(self, s, g): return s[:self.n]\nparse = P(«1|2»).parse"
    ),
    "slots": (
        "class P:\n    __slots__ = ('n',)\n    def __init__(self, n): self.n = n\n    def __call__(self, s, g): return self.n\n"
        "parse = P(«1|2»)"
    ),
    "private slots": (
        "class P:\n    __slots__ = ('__n',)\n    def __init__(self, n): self.__n = n\n"
        "    def __call__(self, s, g): return self.__n\nparse = P(«1|2»)"
    ),
    "inherited slots": (
        "class A:\n    __slots__ = ('n',)\nclass P(A):\n    __slots__ = ('m',)\n"
        "    def __init__(self, n): self.n, self.m = n, 0\n    def __call__(self, s, g): return self.n\nparse = P(«1|2»)"
    ),
    "slots beside a dictionary": (
        "class A:\n    __slots__ = ('n',)\nclass P(A):\n    def __init__(self, n): self.n, self.m = n, 0\n"
        "    def __call__(self, s, g): return self.n\nparse = P(«1|2»)"
    ),
    "another lambda of the line": "one, two = lambda s, g: 1, lambda s, g: 2\nparse = «one|two»",
    "a lambda beside another": "other, parse = lambda s, g: s, lambda s, g: s.«strip|lower»()",
    "a lambda in a lambda": "parse = (lambda: lambda s, g: «1|2»)()",
    "a conditional lambda": "other, parse = lambda s, g: s, lambda s, g: 1 if s else «2|3»",
    "code without a source": "exec('def parse(s, g): return «1|2»')",
    "a constant of code without a source": "exec('def parse(s, g): return s in {1, 2, «3|4»}')",
    "a class without a source": "exec('class A:\\n    n = «1|2»')\ndef parse(s, g): return A.n",
    "a closure": "def make(n):\n    return lambda s, g: n\nparse = make(«1|2»)",
    "a closure over a list": "def make(n):\n    def parse(s, g): return n[0]\n    return parse\nparse = make([«1|2»])",
    "a nonlocal variable": (
        "def make():\n    n = 0\n    def set(m):\n        nonlocal n\n        n = m\n    def parse(s, g): return n\n"
        "    set(«1|2»)\n    return parse\nparse = make()"
    ),
    "a decorator's body": (
        "from functools import wraps\ndef deco(f):\n    @wraps(f)\n    def inner(s, g): return f(s, g)[:«1|2»]\n    return inner\n"
        "@deco\ndef parse(s, g): return s"
    ),
    "what a decorator wraps": (
        "from functools import wraps\ndef deco(f):\n    @wraps(f)\n    def inner(s, g): return f(s, g)\n    return inner\n"
        "@deco\ndef parse(s, g): return «1|2»"
    ),
    "a decorator's argument": (
        "from functools import wraps\nN = «1|2»\ndef deco(n):\n    def outer(f):\n        @wraps(f)\n"
        "        def inner(s, g): return f(s, g)[:n]\n        return inner\n    return outer\n"
        "@deco(N)\ndef parse(s, g): return s"
    ),
    "a decorator's global": (
        "from functools import wraps\nN = «1|2»\ndef deco(f):\n    @wraps(f)\n    def inner(s, g): return f(s, g)[:N]\n"
        "    return inner\n@deco\ndef parse(s, g): return s"
    ),
    "a decorated coroutine": (
        "from functools import wraps\ndef deco(f):\n    @wraps(f)\n    async def inner(s, g): return (await f(s, g))[:«1|2»]\n"
        "    return inner\n@deco\nasync def parse(s, g): return s"
    ),
    "a decorator around ours": (
        "from functools import wraps\nimport agenttts as at\ndef deco(f):\n    @wraps(f)\n"
        "    def inner(s, g): return f(s, g) * «1|2»\n    return inner\nparse = deco(at.parsers.number)"
    ),
    "a decorating object": (
        "class Deco:\n    def __init__(self, f): self.f = f\n    def __call__(self, s, g): return self.f(s, g) * «1|2»\n"
        "@Deco\ndef parse(s, g): return s"
    ),
    "behind a library's decorator": (
        "import contextlib\n@contextlib.contextmanager\ndef c(n):\n    yield «1|2»\n"
        "def parse(s, g):\n    with c(1) as n: return n"
    ),
    "a partial method": (
        "from functools import partialmethod\nclass A:\n    def f(self, n): return n\n    h = partialmethod(f, «1|2»)\n"
        "def parse(s, g): return A().h()"
    ),
    "a single dispatch": (
        "from functools import singledispatch\n@singledispatch\ndef f(x): return 0\n@f.register\ndef _(x: str): return «1|2»\n"
        "def parse(s, g): return f(s)"
    ),
    "behind a cache": "from functools import lru_cache\n@lru_cache\ndef f(s): return «1|2»\ndef parse(s, g): return f(s)",
    "an attribute of a cached function": (
        "from functools import lru_cache\n@lru_cache\ndef f(s): return f.n\nf.n = «1|2»\ndef parse(s, g): return f(s)"
    ),
    "a partial": "from functools import partial\ndef f(n, s, g): return n\nparse = partial(f, «1|2»)",
    "a partial of another": "from functools import partial\nparse = partial(«max|min», 1)",
    "a module's attribute": "import config\ndef parse(s, g): return config.PROMPT\n# file: config.py\nPROMPT = '«a|b»'",
    "a function of a module": (
        "import config\ndef parse(s, g): return config.f()\n# file: config.py\nN = «1|2»\ndef f(): return N"
    ),
    "an attribute of a renamed module": (
        "import config\nother = config\ndef parse(s, g):\n    c = other\n    return c.PROMPT\n# file: config.py\nPROMPT = '«a|b»'"
    ),
    "an attribute of a submodule": (
        "from pkg import sub\ndef parse(s, g): return sub.N\n# file: pkg/__init__.py\n# file: pkg/sub.py\nN = «1|2»"
    ),
    "a path of modules": (
        "import pkg.sub\ndef parse(s, g): return pkg.sub.N\n# file: pkg/__init__.py\n# file: pkg/sub.py\nN = «1|2»"
    ),
    "a relative import": (
        "from pkg.a import parse\n# file: pkg/__init__.py\n# file: pkg/a.py\nfrom .b import N\ndef parse(s, g): return N\n"
        "# file: pkg/b.py\nN = «1|2»"
    ),
    "an import in the body": (
        "def parse(s, g):\n    from config import clean\n    return clean(s)\n# file: config.py\n"
        "def clean(s): return s.«strip|lower»()"
    ),
    "a module imported in the body": (
        "def parse(s, g):\n    import config\n    return config.N\n# file: config.py\nN = «1|2»"
    ),
    "a submodule imported in the body": (
        "def parse(s, g):\n    from pkg import sub\n    return sub.N\n# file: pkg/__init__.py\n# file: pkg/sub.py\nN = «1|2»"
    ),
    "a renamed import in the body": (
        "def parse(s, g):\n    import pkg.sub as short\n    return short.N\n# file: pkg/__init__.py\n"
        "# file: pkg/sub.py\nN = «1|2»"
    ),
    "a relative import in the body": (
        "from pkg.a import parse\n# file: pkg/__init__.py\n# file: pkg/a.py\n"
        "def parse(s, g):\n    from .b import N\n    return N\n# file: pkg/b.py\nN = «1|2»"
    ),
    "a module in a closure": (
        "import config\ndef make(m):\n    return lambda s, g: m.N\nparse = make(config)\n# file: config.py\nN = «1|2»"
    ),
    "a module in an attribute": (
        "import config\nclass P:\n    def __init__(self): self.m = config\n    def __call__(self, s, g): return self.m.N\n"
        "parse = P()\n# file: config.py\nN = «1|2»"
    ),
    "an attribute by a constant name": (
        "import config\ndef parse(s, g): return getattr(config, 'PROMPT')\n# file: config.py\nPROMPT = '«a|b»'"
    ),
    "a module's lazy attribute": (
        "import config\ndef parse(s, g): return config.LATE\n# file: config.py\ndef __getattr__(name): return «1|2»"
    ),
    "ours in place of ours": "import agenttts as at\ndef parse(s, g): return at.parsers.«number|json_object»(s, g)",
    "an argument of ours": "import agenttts as at\nP = at.parsers.tagged('«a|b»')\ndef parse(s, g): return P(s, g)",
    "string.Template": "from string import Template\nT = Template('«a|b»')\ndef parse(s, g): return T.substitute()",
    "jinja2.Template": "from jinja2 import Template\nT = Template('«a|b» {{ x }}')\ndef parse(s, g): return T.render(x=1)",
    "a variable of a Jinja template": (
        "from jinja2 import Template\nT = Template('{{ «x|y» }}')\ndef parse(s, g): return T.render(x=1, y=2)"
    ),
    "a block of a Jinja template": (
        "from jinja2 import Template\nT = Template('{% block b %}«x|y»{% endblock %}')\ndef parse(s, g): return T.render()"
    ),
    "a Jinja environment": (
        "from jinja2 import DictLoader, Environment\nE = Environment(loader=DictLoader({'t': '«a|b»'}))\n"
        "def parse(s, g): return E.get_template('t').render()"
    ),
    "a Jinja filter": (
        "from jinja2 import Environment\nE = Environment()\nE.filters['f'] = lambda x: «1|2»\nT = E.from_string('{{ 1 | f }}')\n"
        "def parse(s, g): return T.render()"
    ),
    "a Jinja setting": (
        "from jinja2 import Environment\nE = Environment(trim_blocks=«True|False»)\ndef parse(s, g): return E.from_string(s)"
    ),
    "a LangChain prompt": (
        "from langchain_core.prompts import PromptTemplate\nT = PromptTemplate.from_template('«a|b» {x}')\n"
        "def parse(s, g): return T.format(x=1)"
    ),
    "a LangChain chat prompt": (
        "from langchain_core.prompts import ChatPromptTemplate\n"
        "T = ChatPromptTemplate.from_messages([('system', '«a|b»'), ('human', '{x}')])\ndef parse(s, g): return T.invoke(s)"
    ),
    "a LangChain tool": (
        "from langchain_core.tools import tool\n@tool\ndef f(n: int) -> int:\n    'Do.'\n    return n + «1|2»\n"
        "def parse(s, g): return f.invoke(s)"
    ),
    "a compiled LangGraph graph": (
        "from langgraph.graph import END, START, StateGraph\nfrom typing import TypedDict\nclass S(TypedDict):\n    x: int\n"
        "def node(state): return {'x': «1|2»}\nG = StateGraph(S)\nG.add_node('n', node)\nG.add_edge(START, 'n')\n"
        "G.add_edge('n', END)\nGRAPH = G.compile()\ndef parse(s, g): return GRAPH.invoke({'x': 0})"
    ),
    "a namespace": "from types import SimpleNamespace as S\nC = S(n=S(m=«1|2»))\ndef parse(s, g): return C.n.m",
    "argparse.Namespace": "from argparse import Namespace\nC = Namespace(n=«1|2»)\ndef parse(s, g): return C.n",
    "configparser": (
        "from configparser import ConfigParser\nC = ConfigParser()\nC.read_string('[a]\\nb = «1|2»')\n"
        "def parse(s, g): return C['a']['b']"
    ),
    "a path": "from pathlib import Path\nP = Path('«a|b»')\ndef parse(s, g): return P.name",
    "a path beside the module": (
        "from pathlib import Path\nP = Path(__file__).parent / '«a|b».txt'\ndef parse(s, g): return P.name"
    ),
    "itemgetter": "from operator import itemgetter\nF = itemgetter('«a|b»')\ndef parse(s, g): return F(g)",
    "attrgetter": "from operator import attrgetter\nF = attrgetter('«a|b»')\ndef parse(s, g): return F(g)",
    "methodcaller": "from operator import methodcaller\nF = methodcaller('split', '«a|b»')\ndef parse(s, g): return F(s)",
    "str.join": "F = '«,|;»'.join\ndef parse(s, g): return F(s)",
    "str.format": "F = '«a|b» {}'.format\ndef parse(s, g): return F(s)",
    "pattern.search": "import re\nF = re.compile('«a|b»').search\ndef parse(s, g): return F(s)",
    "the flags of a pattern": "import re\nF = re.compile('a', «re.I|0»)\ndef parse(s, g): return F.search(s)",
    "a method of a Jinja template": "from jinja2 import Template\nF = Template('«a|b»').render\ndef parse(s, g): return F()",
    "a dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass C:\n    n: int = 0\nV = C(«1|2»)\ndef parse(s, g): return V.n"
    ),
    "a default of a dataclass": (
        "from dataclasses import dataclass, field\nN = «1|2»\n@dataclass(slots=True)\nclass C:\n"
        "    n: list = field(default_factory=lambda: [N])\ndef parse(s, g): return C().n"
    ),
    "attrs": "import attrs\n@attrs.define\nclass C:\n    n: int = 0\nV = C(«1|2»)\ndef parse(s, g): return V.n",
    "a default of attrs": (
        "import attrs\nN = «1|2»\n@attrs.define\nclass C:\n    n: int = attrs.field(default=N)\ndef parse(s, g): return C().n"
    ),
    "pydantic": (
        "from pydantic import BaseModel\nclass C(BaseModel):\n    n: int = 0\nV = C(n=«1|2»)\ndef parse(s, g): return V.n"
    ),
    "a field of pydantic": (
        "from pydantic import BaseModel, Field\nN = «1|2»\nclass C(BaseModel):\n    n: int = Field(0, ge=N)\n"
        "def parse(s, g): return C(n=s)"
    ),
    "a private attribute of pydantic": (
        "from pydantic import BaseModel, PrivateAttr\nclass C(BaseModel):\n    _n: int = PrivateAttr(0)\nV = C()\nV._n = «1|2»\n"
        "def parse(s, g): return V._n"
    ),
    "a nested model of pydantic": (
        "from pydantic import BaseModel\nclass D(BaseModel):\n    n: «int|str»\nclass C(BaseModel):\n    d: list[D]\n"
        "def parse(s, g): return C.model_validate_json(s)"
    ),
    "a created model of pydantic": (
        "from pydantic import create_model\nC = create_model('C', n=(int, «1|2»))\ndef parse(s, g): return C().n"
    ),
    "a created dataclass": (
        "from dataclasses import make_dataclass\nC = make_dataclass('C', [('n', int, «1|2»)])\ndef parse(s, g): return C().n"
    ),
    "a created class": "C = type('C', (), {'n': «1|2»})\ndef parse(s, g): return C.n",
    "a named tuple": (
        "from typing import NamedTuple\nclass C(NamedTuple):\n    n: int\nV = C(«1|2»)\ndef parse(s, g): return V.n"
    ),
    "the fields of a named tuple": (
        "from collections import namedtuple\nC = namedtuple('C', '«a b|b a»')\ndef parse(s, g): return C(1, 2)"
    ),
    "an enum member": (
        "from enum import Enum\nclass E(Enum):\n    A = «1|2»\n    B = 3\ndef parse(s, g): return E.A.value"
    ),
    "another enum member": (
        "from enum import Enum\nclass E(Enum):\n    A = 1\n    B = 2\nV = E.«A|B»\ndef parse(s, g): return V.value"
    ),
    "a method of an enum": (
        "from enum import Enum\nclass E(Enum):\n    A = 1\n    def f(self): return «1|2»\nV = E.A\ndef parse(s, g): return V.f()"
    ),
    "an attribute of an enum member": (
        "from enum import Enum\nclass E(Enum):\n    A = 1\n    def __init__(self, v): self.n = N\n"
        "def parse(s, g): return E.A.n".replace("from enum", "N = «1|2»\nfrom enum")
    ),
    "a user's list": ("class L(list):\n    pass\nV = L([1])\nV.n = «1|2»\ndef parse(s, g): return V.n"),
    "the content of a user's list": "class L(list):\n    pass\nV = L([«1|2»])\ndef parse(s, g): return V[0]",
    "a user's dict": "class D(dict):\n    pass\nV = D(a=1)\nV.n = «1|2»\ndef parse(s, g): return V.n",
    "the content of a user's dict": "class D(dict):\n    pass\nV = D(a=«1|2»)\ndef parse(s, g): return V['a']",
    "a user's str": "class T(str):\n    pass\nV = T('a')\nV.n = «1|2»\ndef parse(s, g): return V.n",
    "the content of a user's str": "class T(str):\n    pass\nV = T('«a|b»')\ndef parse(s, g): return V",
    "a user's int": "class T(int):\n    pass\nV = T(«1|2»)\ndef parse(s, g): return V",
    "a user's mapping": (
        "from collections.abc import Mapping\nclass M(Mapping):\n    def __init__(self, n): self.n = n\n"
        "    def __getitem__(self, key): return self.n\n    def __iter__(self): return iter(())\n"
        "    def __len__(self): return 0\nV = M(«1|2»)\ndef parse(s, g): return V['a']"
    ),
    "a user's path": (
        "from pathlib import PosixPath\nclass P(PosixPath):\n    pass\nV = P('a')\nV.n = «1|2»\ndef parse(s, g): return V.n"
    ),
    "UserDict": "from collections import UserDict\nV = UserDict(a=«1|2»)\ndef parse(s, g): return V['a']",
    "UserString": "from collections import UserString\nV = UserString('«a|b»')\ndef parse(s, g): return str(V)",
    "ChainMap": "from collections import ChainMap\nV = ChainMap({}, {'a': «1|2»})\ndef parse(s, g): return V['a']",
    "Counter": "from collections import Counter\nV = Counter('«a|b»')\ndef parse(s, g): return V['a']",
    "defaultdict": (
        "from collections import defaultdict\nV = defaultdict(lambda: «1|2»)\ndef parse(s, g): return V['a']"
    ),
    "the order of an OrderedDict": (
        "from collections import OrderedDict\nV = OrderedDict([«('a', 1), ('b', 2)|('b', 2), ('a', 1)»])\n"
        "def parse(s, g): return list(V)"
    ),
    "deque": "from collections import deque\nV = deque([1], maxlen=«1|2»)\ndef parse(s, g): return V",
    "a mapping proxy": "from types import MappingProxyType as M\nV = M({'a': «1|2»})\ndef parse(s, g): return V['a']",
    "array.array": "from array import array\nV = array('i', [«1|2»])\ndef parse(s, g): return V[0]",
    "memoryview": "V = memoryview(b'«a|b»')\ndef parse(s, g): return V[0]",
    "bytearray": "V = bytearray(b'«a|b»')\ndef parse(s, g): return V[0]",
    "slice": "V = slice(«1|2»)\ndef parse(s, g): return s[V]",
    "datetime": "from datetime import datetime\nV = datetime(2024, 1, «1|2»)\ndef parse(s, g): return V",
    "a time zone": (
        "from datetime import timedelta, timezone\nV = timezone(timedelta(hours=«1|2»))\ndef parse(s, g): return V"
    ),
    "zoneinfo": (
        "from datetime import datetime\nfrom zoneinfo import ZoneInfo\n"
        "V = datetime(2024, 1, 1, tzinfo=ZoneInfo('«Europe/Paris|Europe/Berlin»'))\ndef parse(s, g): return V"
    ),
    "decimal": "from decimal import Decimal\nV = Decimal('«1|1.0»')\ndef parse(s, g): return V",
    "fraction": "from fractions import Fraction\nV = Fraction(1, «2|3»)\ndef parse(s, g): return V",
    "numpy": "import numpy as np\nV = np.arange(10)[::2] * «1|2»\ndef parse(s, g): return V",
    "the type of an array": "import numpy as np\nV = np.zeros(2, '«i4|i8»')\ndef parse(s, g): return V",
    "a number of numpy": "import numpy as np\nV = np.float64(«1|2»)\ndef parse(s, g): return V",
    "a function of numpy": "import numpy as np\nF = np.«add|multiply»\ndef parse(s, g): return F(1, 2)",
    "a dispatched function of numpy": "import numpy as np\nF = np.«mean|median»\ndef parse(s, g): return F(s)",
    "pandas": "import pandas as pd\nV = pd.DataFrame({'a': [«1|2»], 'b': ['x']})\ndef parse(s, g): return V",
    "a column's name": "import pandas as pd\nV = pd.DataFrame({'«a|b»': [1]})\ndef parse(s, g): return V",
    "lists in pandas": "import pandas as pd\nV = pd.Series([[«1|2»]])\ndef parse(s, g): return V",
    "a generic alias": "V = list[«int|str»]\ndef parse(s, g): return V",
    "an annotation as data": "from typing import Optional\nV = Optional[«int|str»]\ndef parse(s, g): return V",
    "a union": "V = «int|str» | None\ndef parse(s, g): return V",
    "a literal type": "from typing import Literal\nV = Literal['«a|b»']\ndef parse(s, g): return V",
    "the annotations of a class": (
        "from typing import TypedDict\nclass T(TypedDict):\n    a: «int|str»\ndef parse(s, g): return T.__annotations__"
    ),
    "a context variable's default": (
        "from contextvars import ContextVar\nV = ContextVar('v', default=«1|2»)\ndef parse(s, g): return V.get()"
    ),
    "an exception's argument": "V = ValueError('«a|b»')\ndef parse(s, g): raise V",
    "a member of a set": "V = {frozenset({1}), frozenset({«2|3»})}\ndef parse(s, g): return V",
    "a function in a set": "V = {lambda: «1|2»}\ndef parse(s, g): return [f() for f in V]",
    "a function in a table": "V = {'a': lambda: «1|2»}\ndef parse(s, g): return V['a']()",
    "a class decorator": (
        "def deco(kind):\n    kind.f = lambda self: «1|2»\n    return kind\n@deco\nclass A: pass\ndef parse(s, g): return A().f()"
    ),
    "an object that decorates as wraps does": (
        "from functools import update_wrapper\nclass Deco:\n    def __init__(self, f):\n        self.f = f\n"
        "        update_wrapper(self, f)\n    def __call__(self, s, g): return self.f(s, g)\n@Deco\ndef parse(s, g): return «1|2»"
    ),
    "a lambda in a table of the line": ("T = {'a': lambda s, g: 1, 'b': lambda s, g: «2|3»}\nparse = T['b']"),
    "a class within a function": (
        "def make(n):\n    class A:\n        def f(self): return n\n    return A\nA = make(«1|2»)\ndef parse(s, g): return A().f()"
    ),
    "super": (
        "class A:\n    def __call__(self, s, g): return «1|2»\nclass B(A):\n    def __call__(self, s, g): return super().__call__(s, g)\n"
        "parse = B()"
    ),
    "a flag": "from enum import Flag\nclass F(Flag):\n    A = 1\n    B = 2\nV = F.A | F.«A|B»\ndef parse(s, g): return V",
    "a class as the parser": "class P:\n    def __init__(self, s, g): self.n = «1|2»\nparse = P",
    "a text with a path beside the module": (
        "import os\nP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '«a|b»')\ndef parse(s, g): return P"
    ),
    "files of a Jinja loader": (
        "from pathlib import Path\nfrom jinja2 import Environment, FileSystemLoader\n"
        "E = Environment(loader=FileSystemLoader(Path(__file__).parent / '«a|b»'))\ndef parse(s, g): return E"
    ),
    "an object with odd attributes": (
        "class P:\n    def __init__(self, n): self.n = n\n    def __getattr__(self, name): raise KeyError(name)\n"
        "    def __reduce__(self): raise SystemExit\n    def __eq__(self, other): raise SystemExit\n    __hash__ = None\n"
        "    @property\n    def client(self): raise SystemExit\n    def __call__(self, s, g): return self.n\nparse = P(«1|2»)"
    ),
    "a generator function": "def f():\n    yield «1|2»\ndef parse(s, g): return list(f())",
    "an item of a default": "def parse(s, g, n={'a': [«1|2»]}): return n['a']",
    "an annotation": "def parse(s: «str|object», g): return s",
    "a weak table beside": "import weakref\nW = weakref.WeakValueDictionary()\ndef parse(s, g): return W, «1|2»",
    "a positional-only name": "def parse(s, g«, /|»): return s",
    "behind a cycle": (
        "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n «>|!=» 0 and even(n - 1)\n"
        "def parse(s, g): return odd(len(s))"
    ),
    "behind two hundred helpers": (
        "def f0(): return «1|2»\n" + "\n".join(f"def f{i + 1}(): return f{i}()" for i in range(200)) + "\n"
        "def parse(s, g): return f200()"
    ),
}

CHANGES_OF_OTHERS = {
    "dspy: the docstring of a signature": (
        "import dspy\nclass S(dspy.Signature):\n    '«Answer|Reply».'\n    q: str = dspy.InputField()\n"
        "    a: str = dspy.OutputField()\ndef parse(s, g): return dspy.Predict(S)"
    ),
    "dspy: the instructions of a signature": (
        "import dspy\nS = dspy.Signature('q -> a', '«x|y»')\ndef parse(s, g): return dspy.Predict(S)"
    ),
    "dspy: the fields of a signature": "import dspy\nP = dspy.ChainOfThought('q -> «a|b»')\ndef parse(s, g): return P(q=s)",
    "dspy: demonstrations": (
        "import dspy\nP = dspy.Predict('q -> a')\nP.demos = [dspy.Example(q='«x|y»', a='b')]\ndef parse(s, g): return P(q=s)"
    ),
    "dspy: a module": (
        "import dspy\nclass M(dspy.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.p = dspy.Predict('q -> a')\n    def forward(self, q): return self.p(q=q)«|.a»\nP = M()\n"
        "def parse(s, g): return P(q=s)"
    ),
    "dspy: a step": (
        "import dspy\nfrom agenttts.adapters.dspy import step_model\nP = dspy.Predict('q -> a')\n"
        "P.set_lm(step_model('«x|y»'))\ndef parse(s, g): return P(q=s)"
    ),
    "msgspec: a value": "import msgspec\nclass C(msgspec.Struct):\n    n: int = 0\nV = C(«1|2»)\ndef parse(s, g): return V.n",
    "msgspec: a default": (
        "import msgspec\nN = «1|2»\nclass C(msgspec.Struct):\n    n: int = N\ndef parse(s, g): return C().n"
    ),
}

CHANGES_BESIDE_UNCOVERED = {
    "a client in a partial": (
        "from functools import partial\nfrom openai import AsyncOpenAI\ndef f(c, n, s, g): return n\n"
        "parse = partial(f, AsyncOpenAI(api_key='k'), «1|2»)",
        "the value (openai.AsyncOpenAI)",
    ),
    "a client beside a number": (
        "from openai import AsyncOpenAI\nC = {'client': AsyncOpenAI(api_key='k'), 'n': «1|2»}\ndef parse(s, g): return C['n']",
        "global 'C' of MODULE.parse (openai.AsyncOpenAI)",
    ),
    "a client of an object": (
        "from openai import AsyncOpenAI\nclass P:\n    def __init__(self, n): self.n, self.client = n, AsyncOpenAI(api_key='k')\n"
        "    def __call__(self, s, g): return self.n\nparse = P(«1|2»)",
        "attribute 'client' of MODULE.P (openai.AsyncOpenAI)",
    ),
    "the user's code in what cannot be read": (
        "import random\nfrom concurrent.futures import ThreadPoolExecutor\nfrom langchain_core.runnables import RunnableLambda\n"
        "R = RunnableLambda(lambda x: «1|2»)\nR.other = random.Random(1)\ndef parse(s, g): return R.invoke(s)",
        "global 'R' of MODULE.parse (langchain_core.runnables.base.RunnableLambda)",
    ),
    "random numbers": (
        "import random\nR = random.Random(1)\ndef parse(s, g): return R, «1|2»",
        "global 'R' of MODULE.parse (random.Random)",
    ),
    "an iterator": (
        "import itertools\nI = itertools.count(1)\ndef parse(s, g): return I, «1|2»",
        "global 'I' of MODULE.parse (itertools.count)",
    ),
    "an open file": (
        "import os\nF = open(os.devnull)\nclose = F.close\nF.close()\ndef parse(s, g): return F, «1|2»",
        "global 'F' of MODULE.parse (_io.TextIOWrapper)",
    ),
    "computed names": (
        "def parse(s, g): return globals()['N'], «1|2»",
        "names that MODULE.parse looks up by globals",
    ),
    "computed attributes": (
        "import config\ndef parse(s, g): return getattr(config, s), «1|2»\n# file: config.py\nN = 1",
        "attributes of modules that MODULE.parse looks up by computed names",
    ),
    "a module that is missing": (
        "def parse(s, g):\n    import missing_here\n    return «1|2»",
        "import 'missing_here' of MODULE.parse (it cannot be imported)",
    ),
}  # fmt: skip

SAME = {
    "a comment": "def parse(s, g):\n    return s«|  # the sample»",
    "the layout": "def parse(s, g): «return s|\n    return (\n        s\n    )\n»",
    "the quotes": "def parse(s, g): return «'a'|\"a\"»",
    "the place in the file": "«|N = 1\n\n\n»def parse(s, g): return s",
    "an unrelated global": "N = «1|2»\ndef parse(s, g):\n    M = 1\n    return M",
    "an unrelated helper": "def other(): return «1|2»\ndef parse(s, g): return s",
    "an unrelated function of a module": (
        "import config\ndef parse(s, g): return config.N\n# file: config.py\nN = 1\ndef other(): return «1|2»"
    ),
    "the order of a set": "V = {«'a', 'b', 'c'|'c', 'b', 'a'»}\ndef parse(s, g): return s in V",
    "a logger": "import logging\nV = logging.getLogger('«a|b»')\ndef parse(s, g): V.info(s)",
    "a lock": "import threading\nV = threading.«Lock|RLock»()\ndef parse(s, g):\n    with V: return s",
    "a computed property": (
        "from functools import cached_property\nclass P:\n    @cached_property\n    def n(self): return 1\n"
        "    def __call__(self, s, g): return self.n\nparse = P()\n«|parse.n»"
    ),
    "a filled cache": (
        "from functools import lru_cache\n@lru_cache\ndef f(n): return n\ndef parse(s, g): return f(1)\n«|f(1)»"
    ),
    "a rendered template": (
        "from jinja2 import Environment\nE = Environment()\nT = E.from_string('a')\ndef parse(s, g): return T.render()\n"
        "«|parse(1, 2); E.from_string('b').render()»"
    ),
    "a dispatched call": (
        "from functools import singledispatch\n@singledispatch\ndef f(x): return 0\ndef parse(s, g): return f(s)\n«|f(1)»"
    ),
    "where ours is imported from": (
        "«import agenttts as at\nF = at.parsers.text|from agenttts.pipeline.subtask import text\nF = text»\n"
        "def parse(s, g): return F(s, g)"
    ),
    "a default of ours": (
        "import agenttts as at\nF = at.metrics.set_f1(«'a'|field='a', both_empty=1»)\ndef parse(s, g): return F(s, g)"
    ),
}


def written(folder: Path, source: str, side: int, name: str) -> Path:
    """The files of one side of a row."""
    first, *others = _FILE.split(_CHANGE.sub(lambda match: match[1 + side], source))
    for file, text in [(f"{name}.py", first), *zip(others[::2], others[1::2], strict=True)]:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / f"{name}.py"


class Loaded(NamedTuple):
    """What is said of a module's `parse`."""

    text: str
    uncovered: tuple[str, ...]
    parts: Mapping[str, str]


def loaded(file: Path, name: str = "mine") -> Loaded:
    """A module that stands in a folder of its own; called `__main__`, a script."""
    before = dict(sys.modules)
    sys.path.insert(0, str(file.parent))
    importlib.invalidate_caches()
    try:
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        if name == "__main__":
            module.__package__ = None  # as Python sets it
        sys.modules[name] = module
        spec.loader.exec_module(module)
        parse = module.parse
        return Loaded(describe(parse), uncovered(parse), parts(parse))
    finally:
        sys.path.remove(str(file.parent))
        for each in [each for each in list(sys.modules) if _is_in(each, file.parent)]:
            del sys.modules[each]
        sys.modules.setdefault("__main__", before["__main__"])


def _is_in(module: str, folder: Path) -> bool:
    return str(getattr(sys.modules[module], "__file__", "")).startswith(str(folder))


def parts(parse: Any) -> Mapping[str, str]:
    models = (Model("m", 1e9),)
    answer = Subtask("answer", models, run=parse) if is_async(parse) else Subtask("answer", models, "x", parser=parse)
    subtasks = (Subtask("find", models, "x"), answer)
    return Pipeline("p", subtasks, len).fingerprints  # type: ignore[arg-type]  # never called


def both(folder: Path, source: str) -> tuple[Loaded, Loaded]:
    old, new = (loaded(written(folder / str(side), source, side, "mine")) for side in (0, 1))
    return old, new


@pytest.mark.parametrize("source", CHANGES.values(), ids=CHANGES)
def test_a_change_is_seen(tmp_path: Path, source: str) -> None:
    old, new = both(tmp_path, source)
    assert old.text != new.text
    assert {part for part in old.parts if old.parts[part] != new.parts[part]} == {"subtask 'answer'"}
    assert old.uncovered == ()
    assert str(tmp_path) not in old.text and "0x" not in old.text


@pytest.mark.filterwarnings("ignore")  # of the libraries
@pytest.mark.parametrize("name", CHANGES_OF_OTHERS)
def test_a_change_is_seen_in_libraries_that_not_everyone_has(tmp_path: Path, name: str) -> None:
    pytest.importorskip(name.partition(":")[0])
    old, new = both(tmp_path, CHANGES_OF_OTHERS[name])
    again = loaded(written(tmp_path / "again", CHANGES_OF_OTHERS[name], 0, "mine"))
    assert old.text == again.text != new.text and old.uncovered == ()


def test_data_that_are_too_deep_are_named() -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    assert uncovered({"a": deep}) == ("the value (nested deeper than 80 levels)",)


@pytest.mark.parametrize("source", CHANGES.values(), ids=CHANGES)
def test_a_script_and_a_module_are_the_same(tmp_path: Path, source: str) -> None:
    files = [written(tmp_path / folder, source, 0, "mine") for folder in "ab"]
    assert loaded(files[0]).text == loaded(files[1], "__main__").text


@pytest.mark.parametrize(("source", "phrase"), CHANGES_BESIDE_UNCOVERED.values(), ids=CHANGES_BESIDE_UNCOVERED)
def test_what_cannot_be_read_is_named_and_the_rest_is_seen(tmp_path: Path, source: str, phrase: str) -> None:
    old, new = both(tmp_path, source)
    assert old.text != new.text and old.uncovered == (phrase.replace("MODULE", "mine"),)


@pytest.mark.parametrize("source", SAME.values(), ids=SAME)
def test_what_does_the_same_is_the_same(tmp_path: Path, source: str) -> None:
    old, new = both(tmp_path, source)
    assert old.text == new.text and old.parts == new.parts and old.uncovered == ()


_SCRIPT = """
import json, sys
from pathlib import Path
from tests.pipeline.test_fingerprint_changes import loaded
print(json.dumps({path.parent.name: loaded(path).text for path in sorted(Path(sys.argv[1]).glob("*/mine.py"))}))
"""


def test_processes_agree_on_every_row(tmp_path: Path) -> None:
    rows = [*CHANGES.values(), *SAME.values(), *(source for source, _ in CHANGES_BESIDE_UNCOVERED.values())]
    said = []
    for seed in ("1", "2"):
        for number, source in enumerate(rows):
            written(tmp_path / seed / str(number), source, 0, "mine")
        command = [sys.executable, "-c", _SCRIPT, str(tmp_path / seed)]
        variables = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent.parent)}
        done = subprocess.run(command, capture_output=True, text=True, env=variables, check=True)
        said.append(json.loads(done.stdout))
    assert len(said[0]) == len(rows)
    assert [number for number in said[0] if said[0][number] != said[1][number]] == []
