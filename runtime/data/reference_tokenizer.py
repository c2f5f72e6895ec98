"""Runs Hugging Face's tokenizers library for Leasehold, which starts this program and talks to it over pipes.

A message is four bytes of length (little endian), one byte of kind, and that many bytes of content. Requests:
    L  a tokenizer.json                  answered by V, JSON: {"version": ..., "ids": largest id + 1}
    E  a text in UTF-8                   answered by I, its tokens as int32 (little endian)
    D  tokens as int32                   answered by T, their text in UTF-8
The answer to a failure is X with a message. At the start the program sends G, or X if it cannot start. It ends when its
standard input ends, and so with the program that started it.
"""

import array
import json
import os
import struct
import sys


def read_exactly(stream, size):
    data = stream.read(size)
    if len(data) != size:
        os._exit(0)  # the other side has gone
    return data


def send(stream, kind, content=b""):
    stream.write(struct.pack("<I", len(content)) + kind + content)
    stream.flush()


def words(failure):
    return f"{type(failure).__name__}: {failure}".encode("utf-8", "replace")


def load(library, content):
    tokenizer = library.Tokenizer.from_str(content.decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids = tokenizer.get_vocab(with_added_tokens=True).values()
    return tokenizer, {"version": library.__version__, "ids": max(ids, default=-1) + 1}


def as_int32(ids):
    numbers = array.array("i", ids)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def from_int32(content):
    numbers = array.array("i", content)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def answer(library, tokenizer, kind, content):
    """Returns the tokenizer for later requests, and the kind and content of the answer."""
    if kind == b"L":
        tokenizer, about = load(library, content)
        return tokenizer, b"V", json.dumps(about).encode()
    if kind == b"E":
        ids = tokenizer.encode(content.decode(), add_special_tokens=False).ids
        return tokenizer, b"I", as_int32(ids)
    if kind == b"D":
        text = tokenizer.decode(from_int32(content), skip_special_tokens=False)
        return tokenizer, b"T", text.encode("utf-8", "surrogatepass")
    raise ValueError(f"a request of kind {kind!r}")


def main():
    # Printed text must not mix with the answers.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # A folder named tokenizers in the working directory must not hide the library.
    sys.path[:] = [place for place in sys.path if place not in ("", ".", os.getcwd())]
    try:
        import tokenizers as library
        library.Tokenizer.from_str
    except Exception as failure:
        send(answers, b"X", words(failure))
        return
    send(answers, b"G")
    tokenizer = None
    while True:
        size, kind = struct.unpack("<Ic", read_exactly(requests, 5))
        content = read_exactly(requests, size)
        try:
            tokenizer, answer_kind, answer_content = answer(library, tokenizer, kind, content)
        except BaseException as failure:  # a panic in Rust is not an Exception
            answer_kind, answer_content = b"X", words(failure)
        send(answers, answer_kind, answer_content)


main()
