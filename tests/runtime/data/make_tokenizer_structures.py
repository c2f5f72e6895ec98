#!/usr/bin/env python3
"""Makes small tokenizers of the structures that models have, and random documents with their tokens.

For each structure a folder NAME with tokenizer.json, which the tokenizers library (PyPI) trains on a few lines, and
vectors.json: documents, the tokens that the library gives them (add_special_tokens=False), and what it decodes them to.
tests/compare_tokenizers runs this with many documents; tests/fixtures/tokenizers holds few. The library's trainers of bert and
t5 draw lots, so those two differ each time:

    PYTHON tests/runtime/data/make_tokenizer_structures.py --documents 25 --seed 7 tests/fixtures/tokenizers
"""

import argparse
import json
import random
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = (r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+",
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
            r"\s*[\r\n]+|\s+(?!\S)|\s+")

CORPUS = """The quick brown fox jumps over the lazy dog, and the dog doesn't mind; it's the fox's 1st jump of 1234 this year.
In the beginning there was nothing. Then there were numbers: 0, 1, 2, 3, 10, 100, 1000, 2024 and 3.14159.
They'll train models on leased machines, we've been told; you're welcome to watch what happens next.
def main(arguments):\n    for index in range(10):\n        print(index, arguments[index])\n    return 0
Всі люди народжуються вільними і рівними у своїй гідності та правах.
人人生而自由，在尊严和权利上一律平等。すべての人間は、生まれながらにして自由である。
Tous les êtres humains naissent libres et égaux en dignité et en droits. Où est la forêt ? Là-bas, près du château.
सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता प्राप्त है।
모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.
""" * 40

KINDS = [
    *"abcxyzABZ", "the ", "The", " fox", "dog's", "they'll", "I'M", "'d", "'", "don't ", "é", "e\u0301", "a\u0308", "ñ", "n\u0303",
    "\u0301", "\u0323\u0301", "\u212b", "\u2126", "\u0958", "\u0344", "가", "\u1100\u1161", "\u1100\u1161\u11a8", "\u11a8", "ﬁ", "½", "²", "٣",
    "7", "42", "123", "2024", "1234567", "Ⅷ", "०", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n ", "\u00a0", "\u3000", "\u2003",
    "\u200b", "\u200d", "\ufeff", "\u0085", "\u2028", "!", "?!", "...", ", ", "-", "--", "/", "\\", "_", "(", ")", "[x]", "{", "}", "#", "@", "€",
    "他", "人人", "自由，", "。", "す", "カ", "か\u3099", "А", "люди ", "क्षि", "ก็", "😀", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇺🇦", "❤️",
    "\x00", "\x07", "\x1b", "\x7f", "\u0080", "\ufffd", "\uffff", "\U0010ffff", "\U0001d518", "print(", "    return", "x = ",
]


def byte_level(pattern=None, first=()):
    if pattern is None:
        last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        return pre_tokenizers.Sequence([*first, last]) if first else last
    patterns = [pattern] if isinstance(pattern, str) else pattern
    splits = [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]
    return pre_tokenizers.Sequence([*first, *splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def special(content, **flags):
    return AddedToken(content, special=True, normalized=False, **flags)


def train_byte_level(pre_tokenizer, added, normalizer=None, in_vocabulary=(), ids=420):
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizer
    made.decoder = decoders.ByteLevel()
    if normalizer is not None:
        made.normalizer = normalizer
    made.train_from_iterator(CORPUS.splitlines(True), trainers.BpeTrainer(
        vocab_size=ids, special_tokens=list(in_vocabulary), show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    made.add_tokens(added)
    return made


def changed(made, change):
    description = json.loads(made.to_str())
    change(description)
    return Tokenizer.from_str(json.dumps(description))


def gpt2():
    return train_byte_level(byte_level(), [special("<|endoftext|>")])


def llama3():
    made = train_byte_level(byte_level(LLAMA3), [special("<|begin_of_text|>"), special("<|end_of_text|>"), special("<|eot_id|>")])
    made.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", made.token_to_id("<|begin_of_text|>"))])
    return changed(made, lambda d: d["model"].update(ignore_merges=True))


def qwen2():
    return train_byte_level(byte_level(QWEN2), [special("<|endoftext|>"), special("<|im_start|>"), special("<|im_end|>"),
                                                AddedToken("<café\u0301>", normalized=True)], normalizers.NFC())


def gpt4o():
    return train_byte_level(byte_level(GPT4O), [special("<|endoftext|>"), special("<|endofprompt|>")])


def deepseek():
    made = train_byte_level(byte_level(DEEPSEEK), [special("<｜begin▁of▁sentence｜>"), special("<｜end▁of▁sentence｜>"),
                                                   AddedToken("<｜User｜>", normalized=True)])
    made.normalizer = normalizers.Sequence([])
    return made


def smollm():
    return train_byte_level(byte_level(first=[pre_tokenizers.Digits(individual_digits=True)]), [],
                            in_vocabulary=["<|endoftext|>", "<|im_start|>", "<début>"])


def roberta():
    made = train_byte_level(byte_level(), [special("<s>"), special("<pad>"), special("</s>"), special("<mask>", lstrip=True)])
    made.post_processor = processors.RobertaProcessing(("</s>", made.token_to_id("</s>")), ("<s>", made.token_to_id("<s>")))
    made.enable_truncation(8)
    made.enable_padding()
    return made


def phi():
    runs = [AddedToken(" " * n, normalized=True) for n in range(31, 1, -1)]
    runs += [AddedToken("\t" * n, normalized=True) for n in range(9, 1, -1)]
    return train_byte_level(byte_level(), [special("<|endoftext|>"), special("<|end|>", rstrip=True),
                                           special("<|user|>", lstrip=True, rstrip=True), *runs])


def split_behaviors():
    """Returns the conversion of cl100k_base, and the rarer behaviours."""
    splits = [pre_tokenizers.Split(Regex(LLAMA3), "removed", invert=True), pre_tokenizers.Split("#", "merged_with_next"),
              pre_tokenizers.Split(Regex(r"[_\-]"), "contiguous"), pre_tokenizers.Split("!", "merged_with_previous"),
              pre_tokenizers.Split("@", "removed"), pre_tokenizers.Digits(individual_digits=False)]
    return train_byte_level(pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
                            [special("<|endoftext|>")])


def holes():
    """Returns ids with a hole before the special tokens."""
    def move(description):
        vocab = description["model"]["vocab"]
        for i, entry in enumerate(description["added_tokens"]):
            entry["id"] = vocab[entry["content"]] = 600 + 3 * i
    return changed(train_byte_level(byte_level(LLAMA3), [special("<|begin_of_text|>"), special("<|end_of_text|>")]), move)


def mistral():
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    made.train_from_iterator(CORPUS.splitlines(), trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<unk>", "<s>", "</s>", *bytes_], show_progress=False, max_token_length=12))

    def only_three_added(description):
        description["added_tokens"] = description["added_tokens"][:3]
    made = changed(made, only_three_added)
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return made


def bert():
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.train_from_iterator(CORPUS.splitlines(), trainers.WordPieceTrainer(
        vocab_size=500, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


def t5():
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    made.decoder = decoders.Metaspace(prepend_scheme="always")
    made.train_from_iterator(CORPUS.splitlines(), trainers.UnigramTrainer(
        vocab_size=400, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False))
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return made


def prefix_space():
    made = train_byte_level(byte_level(), [special("<s>"), special("</s>")])
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return made


STRUCTURES = [gpt2, llama3, qwen2, gpt4o, deepseek, smollm, roberta, phi, split_behaviors, holes, mistral, bert, t5, prefix_space]


def random_documents(rng, count, specials):
    parts = KINDS + [*specials, *(f" {s} " for s in specials), *(f"\n{s}\n" for s in specials)]
    words = CORPUS.split(" ")
    for index in range(count):
        kind = index % 3
        if kind == 0:
            yield "".join(rng.choice(parts) for _ in range(rng.randrange(0, 50)))
        elif kind == 1:
            yield " ".join(rng.choice(words) if rng.random() < 0.8 else rng.choice(parts) for _ in range(rng.randrange(1, 30)))
        else:  # any characters but surrogates
            codes = (rng.choice([rng.randrange(0x250), rng.randrange(0x3000), rng.randrange(0x110000)]) for _ in range(30))
            yield "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--documents", type=int, default=900)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(2**31) if arguments.seed is None else arguments.seed
    print(f"tokenizers {tokenizers.__version__}, seed {seed}, {arguments.documents} documents for each")
    for structure in STRUCTURES:
        rng = random.Random(f"{seed} {structure.__name__}")
        made = structure()
        folder = arguments.folder / structure.__name__
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(made.to_str() + "\n")
        made.no_truncation()
        made.no_padding()
        specials = sorted({token.content for token in made.get_added_tokens_decoder().values()})
        vectors = []
        for text in random_documents(rng, arguments.documents, specials):
            ids = made.encode(text, add_special_tokens=False).ids
            vectors.append({"text": text, "ids": ids, "decoded": made.decode(ids, skip_special_tokens=False)})
        lines = ",\n".join(json.dumps(vector, separators=(",", ":")) for vector in vectors)
        (folder / "vectors.json").write_text(f"[\n{lines}\n]\n")
        print(f"  {structure.__name__}: {made.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
