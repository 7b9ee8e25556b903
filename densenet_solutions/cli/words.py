"""Faults in the words of the command line: the rule, the value that was given, and the way out.

The package's messages name the arguments of Python; here they become the options that were typed.
Typer's own refusals leave out the value, and are said again in the house's words.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from densenet_solutions import checks


class Fault(typer.BadParameter):
    """Wrong usage that the package found, in its own words: names in it are arguments of Python."""


#: Arguments that are called otherwise on the command line.
_ALIASES = {"batch_size": "batch"}
#: Where an identifier is an argument and no word of the sentence: at the start with a verb or its
#: value after it, before `=`, before `(was, now is)`, or with an underscore in it.
_ARGUMENT = re.compile(
    r"^\w+(?= (?:is|are|has|have|lies|holds|needs) | ')"
    r"|(?<![-\w])\w+(?==)"
    r"|(?<![-\w])\w+(?= \([^()]*, now )"
    r"|(?<![-\w])[a-z]+(?:_[a-z]+)+\b"
)
#: A batch of square images.
_IMAGES = re.compile(r"(?:x\.shape=)?\(([0-9]+), [0-9]+, ([0-9]+), \2\)")
#: What is said in Python → what is typed.
_PHRASES = {
    r"a batch has at least as many images as parts, got ([0-9]+) images and ([0-9]+) parts":
        r"--batch is at least the \2 parts of --strategy gradient_accumulation, got \1",
    r"a partition is (.*, got '(fresh|search)')$": r"--folds is \1; did you mean '\2-1'?",
    r"a partition is": "--folds is",
    r"is not a checkpoint of this loop, or is damaged \(\w+\)":
        "is no checkpoint of this command, or is damaged",
    r"(differs in(?: .*,)?) network\b": r"\1 the network (NETWORK or --pooling)",
    r"(differs in(?: .*,)?) training images\b": r"\1 the training images (--limit)",
    r"has ([0-9]+) epochs behind it, more than epochs=([0-9]+): delete it":
        r"has \1 epochs behind it, more than --epochs=\2: give --epochs=\1 or more",
    r": delete it, or name another file": ": it is left alone; name another file by --checkpoint",
    r"is missing @ Record\.(\w+)": r"\1 is missing",
    r" @ Record(\.\w+)*": "",
}  # fmt: skip
#: What is said of images in Python → with --batch and --resolution.
_OF_IMAGES = {
    "height and width are at least": "--resolution is at least",
    "give more images or larger ones": "give a larger --batch or --resolution",
    "input_shape has fewer than 2^59 elements": "--batch and --resolution make an input of fewer "
    "than 2^59 elements",
}


def reword(error: Any, args: Sequence[str]) -> None:
    """Say a fault in the words of its command; `args` are all that were typed after the program."""
    said = str(getattr(error, "message", ""))
    if alone := re.match(r"Option '(-\S+)' requires an argument", said):
        error.message = f"{alone[1]} needs a value behind it; --help says which"
    if getattr(error, "ctx", None) is None:
        return
    unknown = re.match(r"No such command '(.*?)'\.(.*)$", said, re.DOTALL)
    surplus = re.match(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)$", said)
    if hasattr(error, "option_name") and hasattr(error, "possibilities"):  # no such option
        place = _place(error.option_name, error.ctx)
        error.message = place or error.message
        error.possibilities = [] if place else _meant(error) or error.possibilities
        if not (place or error.possibilities):
            error.message = (
                f"{said}; --help lists those of {_path(error.ctx) or 'densenet-solutions'}"
            )
    elif unknown:
        group = error.ctx.command.list_commands(error.ctx)
        error.message = (
            f"{_path(error.ctx) or 'densenet-solutions'} has no command '{unknown[1]}'"
            + (
                unknown[2].replace(" Did", ": did")
                or f": it is {'one of ' * (len(group) > 1)}{', '.join(group)}"
            )
        )
    elif surplus:
        takes = " ".join(one.metavar or one.name for one in _arguments(error.ctx.command))
        error.message = (
            f"{_path(error.ctx)} takes {takes or 'options and nothing else'}, got {surplus[1]} "
            f"besides: leave that out{', or write an option before it' * (not takes)}"
        )
    elif hasattr(error, "param_type"):  # missing
        needed = [
            f"{one.opts[0]} …" if one.opts[0].startswith("-") else one.metavar or one.name
            for one in error.ctx.command.params
            if one.required
        ]
        error.ctx.fail(
            f"{_options(error.ctx.command)[error.param.name]} is missing: write "
            f"{_path(error.ctx)} {' '.join(needed)}; --help says what may be given"
        )
    elif isinstance(error, Fault):
        command, params = error.ctx.command, error.ctx.params  # type: ignore[union-attr]
        given = {  # Typer has not made paths of them in every version
            name: Path(value) if value is not None and _is_path(command, name) else value
            for name, value in params.items()
        }
        error.message = in_options(error.message, _options(command), given)
    elif isinstance(error, typer.BadParameter) and error.param is not None:
        words = _refusal(error, list(args))
        if words is not None:
            error.message, error.param = words, None


def _place(option: str, context: Any) -> str | None:
    """Where an option belongs that was typed before its command, or behind that of another."""
    above = context
    while (above := above.parent) is not None:
        if option in _options(above.command).values():
            return f"{option} stands before {context.info_name}, and without it"
    if not hasattr(context.command, "list_commands"):
        return None
    found = _commands_with(option, context)
    if not found:
        return None
    typed = [one for one in found if set(one.split()) <= {*_all_typed(context)}]
    after = max(typed, key=len, default="the command")
    return f"{option} is an option of {', '.join(found)}: write it after {after}"


def _all_typed(context: Any) -> tuple[str, ...]:
    while context.parent is not None:
        context = context.parent
    return context.obj or ()


def _commands_with(option: str, context: Any) -> list[str]:
    """The commands below this one that have the option, as they are typed: `"bench memory"`."""
    found = []
    for name in context.command.list_commands(context):
        command = context.command.get_command(context, name)
        if option in _options(command).values():
            found.append(name)
        if hasattr(command, "list_commands"):
            inside = type(context)(command, parent=context, info_name=name)
            found += [f"{name} {one}" for one in _commands_with(option, inside)]
    return found


def _meant(error: Any) -> list[str]:
    """The options whose initials were typed: `--lr` for `--learning-rate`."""
    known = [option for one in error.ctx.command.params for option in one.opts]
    typed = error.option_name.strip("-")
    return [one for one in known if typed == "".join(w[0] for w in one.strip("-").split("-"))]


def in_options(words: str, options: Mapping[str, str], given: Mapping[str, Any]) -> str:
    """A message with options in place of arguments.

    Args:
        words: the message.
        options: Python's name → what is typed, of the command.
        given: Python's name → value.

    Examples:
        >>> in_options("seed is at least 0, got -1", {"seed": "--seed"}, {})
        '--seed is at least 0, got -1'
    """

    def option(match: re.Match[str]) -> str:
        return options.get(_ALIASES.get(match[0], match[0]), match[0])

    def images(match: re.Match[str]) -> str:
        batch = f"--batch {match[1]}, " if str(given.get("batch")) == match[1] else ""
        return f"{batch}--resolution {match[2]}"

    for python, typed in _PHRASES.items():
        words = re.sub(python, typed, words)
    if {"batch", "resolution"} <= set(options):
        for python, typed in _OF_IMAGES.items():
            words = words.replace(python, typed)
        words = _IMAGES.sub(images, words)
        words = words.replace(
            ", or call model.eval()", ", or add --infer" if "--infer" in options.values() else ""
        )
    if given.get("strategy"):
        words = re.sub(r"^(this strategy takes a DenseNet, got \w+)\b.*", r"\1", words)
        said = words.replace("this strategy", f"--strategy {given['strategy']}")
        words = said + ": give another NETWORK or --strategy" * (said != words)
    for name, value in given.items():  # a file or a folder is called by its option
        if isinstance(value, Path):
            if words.startswith(f"{value} "):
                words = f"{options[name]} {words}"
            elif any(words.startswith(f"{above} ") for above in value.parents):
                words = f"{options[name]} {value}: {words}"
    return _ARGUMENT.sub(option, words)


def _path(context: Any) -> str:
    """The command as it is typed after the program: `"check number"`."""
    names: list[str] = []
    while context.parent is not None:  # the last is the program, which may be several words
        names.insert(0, context.info_name)
        context = context.parent
    return " ".join(names)


def _arguments(command: Any) -> list[Any]:
    return [one for one in command.params if not one.opts[0].startswith("-")]


def _options(command: Any) -> dict[str, str]:
    found = {}
    for one in command.params:
        is_option = one.opts[0].startswith("-")
        found[one.name] = max(one.opts, key=len) if is_option else one.metavar or one.name
        found |= {f"not {one.name}": other for other in one.secondary_opts}
    return found


def _annotation(command: Any, name: str) -> Any:
    found = inspect.signature(command.callback, eval_str=True).parameters.get(name)
    return None if found is None else found.annotation


def _is_path(command: Any, name: str) -> bool:
    kind = _annotation(command, name)
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return Path in (kind, *get_args(kind))


def _refusal(error: typer.BadParameter, args: list[str]) -> str | None:
    """The rule of an option and the value that breaks it; `None` where Typer has another reason."""
    above, command = error.ctx, error.ctx.command  # type: ignore[union-attr]
    chain = [above]
    while (above := above.parent) is not None:  # type: ignore[union-attr]
        chain.insert(0, above)
    typed: dict[str, Any] = {}
    for context in chain:
        assert context is not None
        typed, rest, _ = context.command.make_parser(context).parse_args(args)
        args = rest[1:]  # after the name of the next command
    name = str(error.param.name)  # type: ignore[union-attr]
    declared = _annotation(command, name)
    if declared is None or not isinstance(typed.get(name), str):
        return None
    kind, *more = get_args(declared) or (declared,)
    try:
        _check(_options(command)[name], typed[name], kind, more[0] if more else None)
    except ValueError as refusal:
        return str(refusal)
    return None


def _check(option: str, value: str, kind: Any, info: Any) -> None:
    """Raise a `ValueError` with the rule that a declared type and range mean."""
    kinds = [kind] if get_origin(kind) is Literal else [*(get_args(kind) or (kind,))]
    for one in kinds:  # one of them may be `None`
        if get_origin(one) is Literal:
            checks.choice(option, value, get_args(one))
    low, high = getattr(info, "min", None), getattr(info, "max", None)
    if int in kinds:
        rule = "a whole number" + (
            f" from {low} to {high}"
            if None not in (low, high)
            else f" of at least {low}" * (low is not None)
        )
        whole = re.fullmatch("[+-]?[0-9]+", value)
        if not whole or (low is not None and int(value) < low) or (high and int(value) > high):
            raise ValueError(f"{option} is {rule}, got {value if whole else repr(value)}")
    if float in kinds:
        try:
            float(value)
        except ValueError:
            raise ValueError(f"{option} is a number, got {value!r}") from None
