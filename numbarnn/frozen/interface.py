"""The C interface of a frozen model: what it reads and returns, and its header."""

import json
from dataclasses import asdict, dataclass

# The number that N_abi returns: changed with every change of a signature or of what it means.
ABI = 1

# What the functions return.
OK, BAD_ARGUMENT, BAD_TOKEN, BAD_LENGTH, BAD_OPTION, BAD_CODE = range(6)


@dataclass(frozen=True)
class Interface:
    """What a frozen model reads and returns.

    Attributes
    ----------
    name : str
        Prefix of all C names, an identifier.
    dtype : {"float32", "float64"}
        Of values, in and out.
    inputs : int
        Features of a step; of a model that reads tokens, the size of its vocabulary.
    outputs : int
        Outputs of a step, or of a sample.
    tokens : bool
        Whether the model reads tokens.
    bag : int
        Tokens of a step along an axis of their own; 0: one, without such an axis.
    sequence : bool
        Whether there is an output for every step, or one for a sample.
    step : bool
        Whether the model can be run step by step.
    sample : bool
        Whether it can read its own samples: one token in, as many outputs as tokens, step by step.
    activation : {"softmax", "sigmoid"} or None
        What makes probabilities of the outputs; None: they are values.
    """

    name: str
    dtype: str
    inputs: int
    outputs: int
    tokens: bool
    bag: int
    sequence: bool
    step: bool
    sample: bool
    activation: str | None

    @property
    def value(self) -> str:
        """The C type of values."""
        return "float" if self.dtype == "float32" else "double"

    @property
    def input(self) -> str:
        """The C type of what the input is made of."""
        return "int64_t" if self.tokens else self.value

    def signatures(self) -> dict[str, str]:
        """Return the declaration of every function that the model has, without the semicolon, by the name after ``NAME_``."""
        n, x, y = self.name, self.input, self.value
        one = f"{x} token" if self.tokens and not self.bag else f"const {x} *x"
        found = {
            "abi": f"int {n}_abi(void)",
            "about": f"const char *{n}_about(void)",
            "check": f"int {n}_check(void *work)",
            "state_bytes": f"size_t {n}_state_bytes(void)",
            "workspace_bytes": f"size_t {n}_workspace_bytes(int64_t n, int64_t t)",
            "forward": f"int {n}_forward(const {x} *x, int64_t n, int64_t t, const int64_t *lengths, const void *h0, void *h1, "
            f"{y} *y, void *work)",
        }
        if self.step:
            found["step"] = f"int {n}_step({one}, void *state, {y} *y)"
        if self.activation is not None:
            found["probabilities"] = f"int {n}_probabilities(const {y} *y, int64_t rows, {y} *p)"
        if self.sample:
            found["sample"] = (
                f"int {n}_sample(uint64_t seed, double temperature, int64_t top_k, double top_p, const int64_t *prime, int64_t np, "
                "int64_t *out, int64_t n, void *state)"
            )
        return found

    def about(self) -> str:
        """Return what ``NAME_about`` returns: the fields of this object in JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    def header(self, denormals: str | None = None) -> str:
        """Return the C header; `denormals` says what becomes of denormal numbers, None: what does in a shared library."""
        n, signatures = self.name, self.signatures()
        values = f"{self.outputs} outputs"
        read = f"(bag of {self.bag})" if self.bag else "" if self.tokens else f"({self.inputs})"
        what = f"tokens from 0 to {self.inputs - 1}" + ", -1 for none" * bool(self.bag) if self.tokens else "values"
        about = {
            "abi": f"The version of this interface: {ABI}.",
            "about": "What the model reads and returns, in JSON.",
            "check": f"Whether the processor computes what the model did: 0, or {BAD_CODE}. work: as of {n}_forward, n = 1, t = 8.",
            "state_bytes": "Size of the state of one sequence; all bytes zero: before its first step. A multiple of 64.",
            "workspace_bytes": f"Size of the scratch memory of {n}_forward. 0: n or t is negative; SIZE_MAX: none is so large.",
            "forward": f"Run n sequences of t steps. x: {what}, (n, t) x {read or 'one'}; y: (n{', t' * self.sequence}) x "
            f"{values}, zero past a length; lengths: (n), NULL: all t; h0, h1: n states before and after, NULL: zeros, not wanted.",
            "step": f"Run one step of one sequence. x: {what}; y: {values}.",
            "probabilities": f"Set p to the {self.activation} of rows x {values}; y and p may be the same.",
            "sample": "Read np tokens of prime, then sample n tokens into out. np = 0: go on from the last outputs in state. "
            "temperature: 0 takes the likeliest; top_k = 0, top_p = 1: all tokens.",
        }
        if denormals is None:
            apart = f", but in {n}_probabilities" if "probabilities" in signatures else ""
            denormals = f"Denormal numbers count as zero{apart}; the processor's mode is restored."
        guard = f"{n.upper()}_H"
        lines = [
            f"/* {n}: a recurrent net frozen by numbarnn.",
            "",
            f"   Functions that return int return 0, or {BAD_ARGUMENT}: a null pointer or a negative size, {BAD_TOKEN}: a token "
            "outside the vocabulary,",
            f"   {BAD_LENGTH}: a length outside 0 ... t, {BAD_OPTION}: an option of sampling outside its range, {BAD_CODE}: code "
            "that this processor cannot run, or runs wrongly.",
            "   Nothing is allocated and nothing is shared, so any number of threads may call them with states and scratch memory",
            "   of their own, which are aligned as double is; where they begin with a cache line steps are a little faster.",
            f"   {denormals} */",
            f"#ifndef {guard}",
            f"#define {guard}",
            "#include <stddef.h>",
            "#include <stdint.h>",
            "#ifdef __cplusplus",
            'extern "C" {',
            "#endif",
            "",
        ]
        for key, signature in signatures.items():
            lines += [f"/* {about[key]} */", f"{signature};", ""]
        lines += ["#ifdef __cplusplus", "}", "#endif", "#endif", ""]
        return "\n".join(lines)
