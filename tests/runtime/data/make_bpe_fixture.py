#!/usr/bin/env python3
"""Makes tests/fixtures/bpe: a small byte-level BPE vocabulary and texts with their tokens.

Trains the merges on the King James Bible (Debian's bible-kjv) and a few lines in other scripts, then encodes texts of
every kind with an implementation of its own: GPT-2's algorithm (Radford et al., 2019) in plain Python, its patterns run
by the `regex` module. Where the `tokenizers` package is installed too, every text that is UTF-8 is compared with it.
The same program gives the same files.

    python3 tests/runtime/data/make_bpe_fixture.py tests/fixtures/bpe
"""

import collections
import json
import random
import subprocess
import sys
import unicodedata
from pathlib import Path

import regex

NUM_MERGES = 1500
GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
LLAMA3 = (r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"""
          r"""\s*[\r\n]+|\s+(?!\S)|\s+""")
OTHER_SCRIPTS = """Всі люди народжуються вільними і рівними у своїй гідності та правах.
人人生而自由，在尊严和权利上一律平等。
すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。
يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.
Tous les êtres humains naissent libres et égaux en dignité et en droits.
सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।
👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 ❤️ 🇺🇦 😀😀
"""


def byte_characters():
    """Returns GPT-2's printable character for each byte."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in own]
    return {**{b: chr(b) for b in own}, **{b: chr(256 + i) for i, b in enumerate(others)}}


CHARACTER = byte_characters()


def printable(raw):
    return "".join(CHARACTER[b] for b in raw)


def train(text):
    """Returns the merges of the most frequent pairs, ties to the smaller pair."""
    words = collections.Counter(m.group().encode() for m in regex.finditer(GPT2, text))
    words = [([CHARACTER[b] for b in word], count) for word, count in sorted(words.items())]
    counts, places = collections.Counter(), collections.defaultdict(set)

    def count_pairs(index, sign):
        symbols, count = words[index]
        for pair in zip(symbols, symbols[1:]):
            counts[pair] += sign * count
            if sign > 0:
                places[pair].add(index)

    for index in range(len(words)):
        count_pairs(index, +1)
    merges = []
    while len(merges) < NUM_MERGES:
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        for index in sorted(places[best]):
            count_pairs(index, -1)
            symbols = words[index][0]
            words[index] = (merge_all(symbols, best), words[index][1])
            count_pairs(index, +1)
        del counts[best]
        del places[best]
        if len(merges) % 100 == 0:
            counts = +counts
    return merges


def merge_all(symbols, pair):
    merged, i = [], 0
    while i < len(symbols):
        if tuple(symbols[i:i + 2]) == pair:
            merged.append(symbols[i] + symbols[i + 1])
            i += 2
        else:
            merged.append(symbols[i])
            i += 1
    return merged


class Reference:
    def __init__(self, pattern, vocab, merges, added=(), ignore_merges=False):
        self.pattern = regex.compile(pattern)
        self.vocab = vocab
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.added = dict(added)
        self.ignore_merges = ignore_merges

    def encode(self, raw):
        # Bytes that are not UTF-8 become lone surrogates: pieces of their own.
        text = raw.decode("utf-8", "surrogateescape")
        ids = []
        alternatives = "|".join(regex.escape(t) for t in sorted(self.added, key=len, reverse=True))
        parts = regex.split(f"({alternatives})", text) if self.added else [text]
        for part in parts:
            if part in self.added:
                ids.append(self.added[part])
                continue
            for run in regex.findall("[\udc80-\udcff]|[^\udc80-\udcff]+", part):
                if "\udc80" <= run[0] <= "\udcff":
                    ids.append(self.vocab[CHARACTER[ord(run) - 0xDC00]])
                else:
                    for match in self.pattern.finditer(run):
                        ids += self.encode_piece(printable(match.group().encode()))
        return ids

    def encode_piece(self, piece):
        if self.ignore_merges and piece in self.vocab:
            return [self.vocab[piece]]
        symbols = list(piece)
        while True:
            pairs = set(zip(symbols, symbols[1:])) & self.ranks.keys()
            if not pairs:
                return [self.vocab[s] for s in symbols]
            symbols = merge_all(symbols, min(pairs, key=self.ranks.get))


def category_texts():
    """Yields characters of every general category (but surrogates), alone and between others."""
    members = collections.defaultdict(list)
    for code in range(sys.maxunicode + 1):
        members[unicodedata.category(chr(code))].append(code)
    for category, codes in sorted(members.items()):
        if category == "Cs":
            continue
        if category == "Cn":  # code points that will never be assigned
            codes = [c for c in codes if c & 0xFFFE == 0xFFFE or 0xFDD0 <= c <= 0xFDEF]
        picked = codes[:4] + codes[4::max(1, len(codes) // 12)]
        text = ""
        for i, code in enumerate(picked):
            c = chr(code)
            text += [c, f"a{c}b", f" {c}", f"{c} 7{c}8", f"\n{c}{c}"][i % 5]
        yield f"category {category}", text


def texts(rng):
    yield "empty", ""
    yield from category_texts()
    spaces = [0x9, 0xA, 0xB, 0xC, 0xD, 0x1C, 0x1D, 0x1E, 0x1F, 0x20, 0x85, 0xA0, 0x1680, 0x180E, *range(0x2000, 0x200C),
              0x2028, 0x2029, 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF]
    yield "spaces of every kind", "".join(f"a{chr(c)}b{chr(c)}{chr(c)}c {chr(c)} d" for c in spaces)
    yield "runs of spaces", "".join(f"x{' ' * n}y" for n in (*range(1, 20), 64, 1000))
    yield "spaces at the end", "end" + " " * 17
    yield "tabs and newlines", "\t\tif (x)\n\n\n\t\t\treturn;  \n \n\r\n\r\n\r\t x \t\n"
    yield "CRLF", "one\r\ntwo\r\n\r\nthree \r\n four.\r\n"
    yield "contractions", "I'm you're he's we've they'd I'll don't IT'S WE'LL 'sit ''s 't' \u2019s '\u017f '\u212a O'Neil"
    yield "numbers", "1 12 123 1234 1234567 3.14159 ٣٤٥ ½ ⅷ 10²³ x1y22"
    yield "punctuation", "Hello, world!!! (what?) [a/b] -- ... ¿qué? «да» #tag @me $5 50% a_b c++ </p>\n\n!?\n"
    yield "emoji", "👩‍👩‍👧‍👦 🏳️‍🌈👍🏽 ❤️‍🔥 🇺🇦🇫🇷 1️⃣ 😀😀 family👨‍👩‍👦end"
    yield "scripts", OTHER_SCRIPTS
    yield "combining", "e\u0301 a\u0308\u0323b n\u0303 \u0301x क्षि ก็ 각"
    yield "long word", "supercalifragilistic" * 200
    yield "long run", "a" * 3000 + "=" * 777 + "\n" * 333 + "0" * 500
    yield "special tokens", "<|begin_of_text|>Hi<|end_of_text|><|end_of_text|> <|endoftext|>x<|end_of_text <tool><tools>a"
    kinds = [*"aZé7 '.!\n\t\r", "  ", "'s", "'LL", "他", "😀", "\u0301", "\u00a0", "the ", "LORD", "<tool>"]
    for i in range(40):
        yield f"mixture {i}", "".join(rng.choice(kinds) for _ in range(rng.randrange(1, 60)))


def broken_texts(rng):
    smile = "☺".encode()
    yield "cut characters", smile[:2] + b"a" + smile + smile[1:] + b" \xf0\x9f\x98 x\xf0\x9f\x98\x80"
    yield "never UTF-8", b"\xc0\xaf \xc1\xbf \xed\xa0\x80 \xf4\x90\x80\x80 \xf5\xff\xfe the \xe0\x80\x80 \xf0\x80\x80\x80"
    yield "Latin-1", "El niño pequeño está aquí".encode("latin-1")
    yield "spaces around", b"a  \xff  b \xff\n\n\xfe \n c\x80's"
    yield "every byte", bytes(range(256))
    for i in range(20):
        yield f"random bytes {i}", bytes(rng.choice(b" \n'aeTs\xe2\x98\xba\xf0\x9f\x80\xc3\xa9") for _ in range(80))
    for i in range(10):
        yield f"any bytes {i}", rng.randbytes(100)


def check_against_tokenizers(folder, vectors):
    try:
        import tokenizers
    except ImportError:
        return "not compared with the tokenizers package, which is not installed"
    gpt2 = tokenizers.Tokenizer(tokenizers.models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    gpt2.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    gpt2.add_special_tokens(["<|endoftext|>"])
    llama3 = tokenizers.Tokenizer.from_file(str(folder / "llama3" / "tokenizer.json"))
    compared = 0
    for vector in vectors:
        try:
            text = bytes.fromhex(vector["text"]).decode()
        except UnicodeDecodeError:
            continue
        for name, tokenizer in (("gpt2", gpt2), ("llama3", llama3)):
            theirs = tokenizer.encode(text, add_special_tokens=False).ids
            assert theirs == vector[name], (vector["name"], name, theirs, vector[name])
        compared += 1
    return f"{compared} texts compared with tokenizers {tokenizers.__version__}: equal"


def main():
    folder = Path(sys.argv[1])
    (folder / "llama3").mkdir(parents=True, exist_ok=True)
    bible = subprocess.run(["bible", "-f", "gen1:1-rev22:21"], check=True, capture_output=True, text=True).stdout
    merges = train(bible + OTHER_SCRIPTS * 300)
    tokens = [CHARACTER[b] for b in sorted(CHARACTER, key=lambda b: CHARACTER[b])] + [a + b for a, b in merges]
    assert len(set(tokens)) == len(tokens)
    vocab = {token: i for i, token in enumerate([*tokens, "<|endoftext|>"])}
    dump = lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    (folder / "vocab.json").write_text(dump(vocab) + "\n")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))

    # A token that no merge makes, which ignore_merges still finds.
    llama3_vocab = {token: i for i, token in enumerate([*tokens, "ĠNebuchadnezzar"])}
    assert "ĠNebuchadnezzar" not in tokens
    added = {content: len(llama3_vocab) + i
             for i, content in enumerate(["<|begin_of_text|>", "<|end_of_text|>", "<tool>", "<tools>"])}
    llama3 = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": c, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": not c.startswith("<|"), "special": c.startswith("<|")} for c, i in added.items()],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
                  "vocab": llama3_vocab, "merges": [list(pair) for pair in merges]},
    }
    (folder / "llama3" / "tokenizer.json").write_text(dump(llama3) + "\n")

    references = {"gpt2": Reference(GPT2, vocab, merges, {"<|endoftext|>": vocab["<|endoftext|>"]}),
                  "llama3": Reference(LLAMA3, llama3_vocab, merges, added, ignore_merges=True)}
    rng = random.Random(4)
    all_texts = [(name, text.encode()) for name, text in texts(rng)]
    all_texts += [("a token without merges", b"And Nebuchadnezzar, Nebuchadnezzars; NebuchadnezzarX")]
    all_texts += list(broken_texts(rng))
    vectors = [{"name": name, "text": raw.hex(), **{key: r.encode(raw) for key, r in references.items()}}
               for name, raw in all_texts]
    (folder / "vectors.json").write_text("[\n" + ",\n".join(dump(v) for v in vectors) + "\n]\n")
    print(f"{len(vectors)} texts, {len(vocab)} tokens; {check_against_tokenizers(folder, vectors)}")


if __name__ == "__main__":
    main()
