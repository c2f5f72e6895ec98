#!/usr/bin/env python3
"""Writes tests/fixtures/huggingface: tiny models as Hugging Face's libraries and llm.c write them. Plain Python.

gpt2            the model of pytorch_gpt2.bin, fp32, one file, with the buffers of older versions
gpt2-bf16       bf16, three shards, names without "transformer."
llama           fp32, grouped heads, Llama-3's rope scaling, its own head matrix
llama-f16       fp16, two shards, tied, with its head stored too
llmc            gpt2_fp32.bin and gpt2_bf16.bin, vocabulary padded

In all but the first, element i of tensor NAME is pattern(NAME, i). It is exact in all three formats, so that a test
knows each element's place without another file.
"""
import argparse
import json
import pathlib
import struct

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
MASK = 0xffffffff


def pattern(name, index):
    """Returns a float with 8 significant bits, from 2^-4 to below 16, either sign."""
    h = 2166136261
    for byte in name.encode():
        h = (h ^ byte) * 16777619 & MASK
    h = (h + index * 2654435761) & MASK
    h = ((h ^ h >> 15) * 2246822519) & MASK
    h ^= h >> 13
    return (-1 if h >> 10 & 1 else 1) * (1 + (h & 127) / 128) * 2.0 ** ((h >> 7 & 7) - 4)


def count(shape):
    product = 1
    for extent in shape:
        product *= extent
    return product


def encode(values, dtype):
    if dtype == "F32":
        return struct.pack(f"<{len(values)}f", *values)
    if dtype == "F16":
        return struct.pack(f"<{len(values)}e", *values)
    assert dtype == "BF16"  # the upper half of a float32, which holds a pattern exactly
    return b"".join(struct.pack("<f", value)[2:] for value in values)


def write_safetensors(path, tensors):
    """Writes tensors: name -> (dtype, shape, bytes)."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def write_folder(name, config, tensors, num_shards=1):
    folder = FIXTURES / "huggingface" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    if num_shards == 1:
        write_safetensors(folder / "model.safetensors", tensors)
        return
    names, weight_map = list(tensors), {}
    for shard in range(num_shards):
        file = f"model-{shard + 1:05}-of-{num_shards:05}.safetensors"
        part = names[shard * len(names) // num_shards:(shard + 1) * len(names) // num_shards]
        write_safetensors(folder / file, {tensor: tensors[tensor] for tensor in part})
        weight_map.update({tensor: file for tensor in part})
    total = sum(len(data) for _, _, data in tensors.values())
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2) + "\n")


def patterned(shapes, dtype):
    return {name: (dtype, shape, encode([pattern(name, i) for i in range(count(shape))], dtype))
            for name, shape in shapes.items()}


def gpt2_config(model, **others):
    return {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_layer": model["layers"],
            "n_embd": model["hidden"], "n_head": model["heads"], "n_positions": model["sequence"],
            "n_ctx": model["sequence"], "vocab_size": model["vocab"], "activation_function": "gelu_new",
            "layer_norm_epsilon": 1e-05, "attn_pdrop": 0.1, "embd_pdrop": 0.1, "resid_pdrop": 0.1,
            "initializer_range": 0.02, "bos_token_id": 0, "eos_token_id": 0,
            "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}, **others}


def gpt2_shapes(model, prefix):
    """Returns the stored shapes: Conv1D keeps (in, out)."""
    C, F = model["hidden"], 4 * model["hidden"]
    shapes = {f"{prefix}wte.weight": (model["vocab"], C), f"{prefix}wpe.weight": (model["sequence"], C)}
    for i in range(model["layers"]):
        h = f"{prefix}h.{i}."
        shapes.update({h + "ln_1.weight": (C,), h + "ln_1.bias": (C,),
                       h + "attn.c_attn.weight": (C, 3 * C), h + "attn.c_attn.bias": (3 * C,),
                       h + "attn.c_proj.weight": (C, C), h + "attn.c_proj.bias": (C,),
                       h + "ln_2.weight": (C,), h + "ln_2.bias": (C,),
                       h + "mlp.c_fc.weight": (C, F), h + "mlp.c_fc.bias": (F,),
                       h + "mlp.c_proj.weight": (F, C), h + "mlp.c_proj.bias": (C,)})
    shapes.update({f"{prefix}ln_f.weight": (C,), f"{prefix}ln_f.bias": (C,)})
    return shapes


def pytorch_weights():
    """Returns name -> (shape, values) of pytorch_gpt2.bin, in Leasehold's names and layout."""
    fixture = json.loads((FIXTURES / "pytorch_gpt2.json").read_text())
    data, offset, weights = (FIXTURES / "pytorch_gpt2.bin").read_bytes(), 0, {}
    for parameter in fixture["parameters"]:
        n = count(parameter["shape"])
        weights[parameter["name"]] = (parameter["shape"], struct.unpack_from(f"<{n}f", data, offset))
        offset += 4 * n
    return fixture["model"], weights


def transpose(values, rows, columns):
    return [values[r * columns + c] for c in range(columns) for r in range(rows)]


def write_gpt2():
    model, weights = pytorch_weights()
    C, H = model["hidden"], model["heads"]
    D, F = C // H, model["ffn"]
    tensors = {}

    def put(name, shape, values):
        tensors["transformer." + name] = ("F32", shape, encode(values, "F32"))

    def take(name):
        return list(weights[name][1])

    put("wte.weight", (model["vocab"], C), take("embedding.token.weight"))
    put("wpe.weight", (model["sequence"], C), take("embedding.position.weight"))
    for i in range(model["layers"]):
        ours, h = f"blocks.{i}.", f"h.{i}."
        # (H, 3, D, C) to q | k | v, one head after another: rows (slot, head, d).
        qkv, bias = take(ours + "attention.qkv.weight"), take(ours + "attention.qkv.bias")
        order = [(head * 3 + slot) * D + d for slot in range(3) for head in range(H) for d in range(D)]
        rows = [value for row in order for value in qkv[row * C:(row + 1) * C]]
        put(h + "ln_1.weight", (C,), take(ours + "attention.norm.weight"))
        put(h + "ln_1.bias", (C,), take(ours + "attention.norm.bias"))
        put(h + "attn.c_attn.weight", (C, 3 * C), transpose(rows, 3 * C, C))
        put(h + "attn.c_attn.bias", (3 * C,), [bias[row] for row in order])
        put(h + "attn.c_proj.weight", (C, C), transpose(take(ours + "attention.projection.weight"), C, C))
        put(h + "attn.c_proj.bias", (C,), take(ours + "attention.projection.bias"))
        put(h + "ln_2.weight", (C,), take(ours + "mlp.norm.weight"))
        put(h + "ln_2.bias", (C,), take(ours + "mlp.norm.bias"))
        put(h + "mlp.c_fc.weight", (C, F), transpose(take(ours + "mlp.fc.weight"), F, C))
        put(h + "mlp.c_fc.bias", (F,), take(ours + "mlp.fc.bias"))
        put(h + "mlp.c_proj.weight", (F, C), transpose(take(ours + "mlp.projection.weight"), C, F))
        put(h + "mlp.c_proj.bias", (C,), take(ours + "mlp.projection.bias"))
        T = model["sequence"]
        mask = bytes(1 if c <= r else 0 for r in range(T) for c in range(T))
        tensors[f"transformer.{h}attn.bias"] = ("BOOL", (1, 1, T, T), mask)
        tensors[f"transformer.{h}attn.masked_bias"] = ("F32", (), encode([-1e4], "F32"))
    put("ln_f.weight", (C,), take("norm.weight"))
    put("ln_f.bias", (C,), take("norm.bias"))
    write_folder("gpt2", gpt2_config(model, torch_dtype="float32"), tensors)


LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 16, "intermediate_size": 24,
         "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
         "vocab_size": 31, "hidden_act": "silu", "rms_norm_eps": 1e-05, "rope_theta": 500000.0,
         "attention_bias": False, "attention_dropout": 0.0, "mlp_bias": False, "pretraining_tp": 1,
         "initializer_range": 0.02, "bos_token_id": 1, "eos_token_id": [2, 3], "use_cache": True,
         "transformers_version": "4.43.0"}


def llama_shapes(config):
    C, F, V = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    kv = C // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes = {"model.embed_tokens.weight": (V, C)}
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        shapes.update({layer + "self_attn.q_proj.weight": (C, C), layer + "self_attn.k_proj.weight": (kv, C),
                       layer + "self_attn.v_proj.weight": (kv, C), layer + "self_attn.o_proj.weight": (C, C),
                       layer + "mlp.gate_proj.weight": (F, C), layer + "mlp.up_proj.weight": (F, C),
                       layer + "mlp.down_proj.weight": (C, F), layer + "input_layernorm.weight": (C,),
                       layer + "post_attention_layernorm.weight": (C,)})
    shapes.update({"model.norm.weight": (C,), "lm_head.weight": (V, C)})
    return shapes


def write_llama():
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 16}
    config = {**LLAMA, "rope_scaling": scaling, "tie_word_embeddings": False, "torch_dtype": "float32"}
    write_folder("llama", config, patterned(llama_shapes(config), "F32"))

    config = {**LLAMA, "rope_scaling": None, "tie_word_embeddings": True, "torch_dtype": "float16"}
    tensors = patterned(llama_shapes(config), "F16")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    for i in range(config["num_hidden_layers"]):  # a buffer of older versions
        tensors[f"model.layers.{i}.self_attn.rotary_emb.inv_freq"] = ("F32", (2,), encode([1.0, 0.1], "F32"))
    write_folder("llama-f16", config, tensors, num_shards=2)


TINY = {"layers": 2, "hidden": 8, "heads": 2, "sequence": 5, "vocab": 11}


def write_llmc():
    folder = FIXTURES / "huggingface" / "llmc"
    folder.mkdir(parents=True, exist_ok=True)
    C, L, padded_vocab = TINY["hidden"], TINY["layers"], 16
    sizes = {"ln1w": C, "ln1b": C, "qkvw": 3 * C * C, "qkvb": 3 * C, "attprojw": C * C, "attprojb": C, "ln2w": C,
             "ln2b": C, "fcw": 4 * C * C, "fcb": 4 * C, "fcprojw": 4 * C * C, "fcprojb": C}
    for version, dtype in ((3, "F32"), (5, "BF16")):
        header = [20240326, version, TINY["sequence"], TINY["vocab"], L, TINY["heads"], C, padded_vocab]
        values = [pattern("wte", i) if i < TINY["vocab"] * C else 0.0 for i in range(padded_vocab * C)]
        values += [pattern("wpe", i) for i in range(TINY["sequence"] * C)]
        for kind, size in sizes.items():
            values += [pattern(f"{kind}.{layer}", i) for layer in range(L) for i in range(size)]
        values += [pattern("lnfw", i) for i in range(C)] + [pattern("lnfb", i) for i in range(C)]
        name = "gpt2_fp32.bin" if version == 3 else "gpt2_bf16.bin"
        (folder / name).write_bytes(struct.pack("<256i", *header, *[0] * 248) + encode(values, dtype))


def main():
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    write_gpt2()
    write_folder("gpt2-bf16", gpt2_config(TINY, torch_dtype="bfloat16"), patterned(gpt2_shapes(TINY, ""), "BF16"),
                 num_shards=3)
    write_llama()
    write_llmc()


if __name__ == "__main__":
    main()
